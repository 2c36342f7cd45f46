"""The command ``ifguide``: ``python -m ifguide``, which is also what torchrun starts."""

import sys

INTERRUPTED = 130


def start() -> int:
    """Run the command line; an interruption is quiet also while it is being imported."""
    try:
        from ifguide.commands.main import main

        return main()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(start())
