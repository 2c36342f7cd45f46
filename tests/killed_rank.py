"""``torchrun killed_rank.py MOMENT ARGUMENTS...``: ifguide, of which rank 1 dies by SIGKILL.

MOMENT is ``at work``, with its first shard kept, or ``in the end``, while the others wait for it.
"""

import os
import signal
import sys
import time

from ifguide.commands.main import main
from ifguide.distributed import ranks
from ifguide.run.artifacts import ScoreShards

put, collect = ScoreShards.put, ScoreShards.collect


def die():
    if ranks.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)


def put_and_die(shards, rows, values):
    put(shards, rows, values)
    die()


def die_before_the_end(shards):
    if ranks.rank() == 1:
        time.sleep(0.5)  # the other one waits by now
        die()
    return collect(shards)


if __name__ == "__main__":
    if sys.argv[1] == "at work":
        ScoreShards.put = put_and_die
    else:
        ScoreShards.collect = die_before_the_end
    sys.exit(main(sys.argv[2:]))
