"""Token scores ``S_ij = v . grad l_ij`` by three engines of one sum."""

from ifguide.scores.score import ScoreConfig, score
from ifguide.scores.sinks import ShardSink

__all__ = ["ScoreConfig", "ShardSink", "score"]
