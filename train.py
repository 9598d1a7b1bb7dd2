"""The report's first step: ``python train.py --config FILE`` is ``bonaface train --config FILE``."""

import sys

from bonaface.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
