"""The report's second step: ``python make_submission.py --model RUN --pairs DIR`` is ``bonaface submit`` with the same options."""

import sys

from bonaface.cli import main

sys.exit(main(["submit", *sys.argv[1:]]))
