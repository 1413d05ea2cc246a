"""scripts/test-image's program: python -m operations.image_main TOOLS [--short] [--port PORT]."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from operations.image_run import ImageRun, ImageTally
from operations.ports import free_port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path)
    parser.add_argument(
        "--short", action="store_true", help="without the killed engine and the second build, as in CI"
    )
    parser.add_argument("--port", type=int, help="a free one if absent")
    arguments = parser.parse_args()
    # Containers and mounts go, whatever ends this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    counts = ImageTally()
    try:
        ImageRun(counts, arguments.tools, arguments.port or free_port()).run(is_short=arguments.short)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        counts.check("the run went to its end", False, error)
    for failure in counts.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(counts.to_json(), flush=True)
    return 1 if counts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
