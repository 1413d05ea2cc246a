"""scripts/test-cutover's program."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from operations.cutover_run import CutoverRun, CutoverTally, is_possible


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test-cutover")
    parser.add_argument(
        "--watch", type=float, default=20.0, help="seconds that a good server is watched (20)"
    )
    arguments = parser.parse_args()
    if missing := is_possible():
        print(missing, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    counts = CutoverTally()
    with tempfile.TemporaryDirectory(prefix="transcriber-cutover-") as folder:
        try:
            CutoverRun(counts, Path(folder), arguments.watch).run()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            counts.check("the run went to its end", False, error)
    for failure in counts.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(counts.to_json(), flush=True)
    return 1 if counts.failures or counts.lost else 0


if __name__ == "__main__":
    sys.exit(main())
