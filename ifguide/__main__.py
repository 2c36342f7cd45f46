"""``python -m ifguide``, which is also what torchrun starts."""

import sys

from ifguide.commands.main import main

sys.exit(main())
