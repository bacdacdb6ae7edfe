"""``python -m carnet.cli``: the same as ``carnet``."""

import sys

from carnet.cli import main

sys.exit(main())
