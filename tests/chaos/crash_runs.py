"""The service killed at named points of a job's way, again and again, with the counters of a chaos run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_audio import Audio
from chaos_client import Order, submit, wait_for_deliveries, wait_for_end
from chaos_kills import run_untouched
from chaos_server import SupervisedServer, settings
from chaos_tally import Tally, count
from webhook_receiver import receiving

SITE = Path(__file__).with_name("crash_site")

#: In the order of a job's way. crash_site/sitecustomize.py says where each is.
CRASH_POINTS = (
    "before_file_fsync",
    "after_file_fsync",
    "after_row_insert",
    "before_202",
    "after_202",
    "after_claim",
    "after_audio_decode",
    "before_window_journalled",
    "after_window_journalled",
    "before_result_save",
    "inside_result_save",
    "after_result_save",
    "before_state_change",
    "inside_state_change",
    "after_state_change",
    "before_work_dropped",
    "before_webhook_send",
    "after_webhook_send",
    "after_webhook_record",
)

#: How long a point may take to be reached.
REACH_SECONDS = 60.0


@dataclass
class CrashRun:
    """One server that dies where it is told to, and what its clients ordered."""

    server: SupervisedServer
    points: Path
    url: str
    orders: list[Order] = field(default_factory=list)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    not_reached: list[str] = field(default_factory=list)

    def crash(self, point: str, audio: Audio) -> None:
        """One job whose way leads through an armed point; seen to its end, and so that the point was reached."""
        armed = self.points / point
        armed.touch()
        order = Order(
            f"{point}-{len(self.orders)}", audio, {"webhook_url": f"{self.url}&n={len(self.orders)}"}
        )
        self.orders.append(order)
        submit(self.server, order, timeout=REACH_SECONDS, pause=0.05)
        job_id = str(order.job_id)
        self.ended[job_id] = wait_for_end(self.server, job_id, timeout=REACH_SECONDS)
        wait_for_deliveries(self.server, job_id)
        if self._is_reached(armed):
            self.kills[point] += 1
        else:
            self.not_reached.append(f"{point} was not reached by {job_id}")
            armed.unlink(missing_ok=True)

    def _is_reached(self, armed: Path) -> bool:
        """The last points come after everything that the API shows."""
        deadline = time.monotonic() + 5
        while armed.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not armed.exists()


def run_crashes(
    plan: Sequence[tuple[str, int]],
    audio: Audio,
    models: Path,
    folder: Path,
    *,
    standin: bool,
    say: Callable[[str], None] = print,
) -> tuple[Tally, list[str]]:
    """Crash at each point so often; the counters, and the points that no job came to."""
    env = settings(models, standin=standin)
    untouched = run_untouched(folder / "untouched", env, [audio])
    points, data_dir = folder / "points", folder / "crashes"
    points.mkdir()
    with receiving() as receiver:
        with SupervisedServer(data_dir, _crashing(env, points)) as server:
            server.wait_ready()
            run = CrashRun(server, points, receiver.url)
            for point, times in plan:
                begun = time.monotonic()
                for _ in range(times):
                    run.crash(point, audio)
                say(f"{point}: {run.kills[point]} of {times}, {time.monotonic() - begun:.0f} s")
        counts = count(run.orders, run.ended, untouched, data_dir, list(receiver.received))
    counts.kills = run.kills
    return counts, run.not_reached


def _crashing(env: Mapping[str, str], points: Path) -> dict[str, str]:
    return {**env, "PYTHONPATH": str(SITE), "CRASH_POINTS": str(points), "PYTHONDONTWRITEBYTECODE": "1"}
