"""``python -m ifguide``, which is also what torchrun starts."""

import sys

from ifguide.cli import main

sys.exit(main())
