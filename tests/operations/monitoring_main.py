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
    tally = MonitoringTally()
    with tempfile.TemporaryDirectory(prefix="transcriber-monitoring-") as folder:
        try:
            MonitoringRun(tally, Path(folder)).run()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            tally.check("the run went to its end", False, error)
    for failure in tally.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(tally.to_json(), flush=True)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
