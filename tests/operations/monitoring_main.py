"""scripts/test-monitoring's program."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from operations.monitoring_run import MonitoringRun, MonitoringTally


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    counts = MonitoringTally()
    with tempfile.TemporaryDirectory(prefix="transcriber-monitoring-") as folder:
        try:
            MonitoringRun(counts, Path(folder)).run()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            counts.check("the run went to its end", False, error)
    for failure in counts.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(counts.to_json(), flush=True)
    return 1 if counts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
