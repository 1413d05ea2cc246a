"""python -m transcriber.cli.loadtest, as scripts/loadtest calls it."""

import sys

from . import main

sys.exit(main())
