"""``python -m bonaface``."""

import sys

from bonaface.cli import main

sys.exit(main())
