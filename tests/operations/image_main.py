"""scripts/test-image's program: python -m operations.image_main TOOLS [--port PORT]."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from operations.image_run import ImageRun, ImageTally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path)
    parser.add_argument("--port", type=int, default=5460)
    arguments = parser.parse_args()
    # Containers and mounts go, whatever ends this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tally = ImageTally()
    try:
        ImageRun(tally, arguments.tools, arguments.port).run()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        tally.check("the run went to its end", False, error)
    for failure in tally.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(tally.to_json(), flush=True)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
