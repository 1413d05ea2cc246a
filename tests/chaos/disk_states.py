"""Data folders in a bad state under a running or starting service; each check gives back what did not hold."""

from __future__ import annotations

import errno
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos_audio import Audio
from chaos_client import Order, submit, try_once, wait_for_end
from chaos_server import SupervisedServer, settings
from chaos_tally import stored_jobs
from chaos_tree import Role
from disk_faults import DATA, FOR_EVER, Fault, PreloadedDisk
from server import Server

#: Room for a few uploads of the longest clip and no more.
SMALL_BYTES = 24 * 1024 * 1024

REFUSED = frozenset({503, 507})


@contextmanager
def mounted(place: Path, size_bytes: int = SMALL_BYTES) -> Iterator[Path]:
    """A small file system of its own at `place`. For root."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "transcriber-test", str(place)], check=True
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def full_disk(place: Path, audio: Audio, models: Path) -> list[str]:
    """A disk that fills up while jobs come in, before the upload, in it and in the work; then there is room again."""
    faults: list[str] = []
    orders = [Order(f"before-{n}", audio) for n in range(2)]
    with _server(place / "data", models) as server:
        worker = server.pids(Role.WORKER)
        for order in orders:
            submit(server, order)
        ballast = place / "ballast"
        for left in (0, 4_096, 65_536, 300_000, 1_200_000, 1_400_000):
            _fill(ballast, leave=left)
            orders.append(Order(f"left-{left}", audio))
            _expect_refusal_or_job(server, orders[-1], faults)
            _expect_alive(server, faults)
        ballast.unlink()
        _expect_all(server, orders, faults)
        if server.pids(Role.WORKER) != worker:
            faults.append("the worker was replaced")
    return faults + _stored_faults(place / "data", orders)


def read_only_folder(place: Path, audio: Audio, models: Path) -> list[str]:
    """The data folder turns read-only under the service, and is so at its start; then it can be written again."""
    faults: list[str] = []
    orders = [Order(f"before-{n}", audio) for n in range(2)]
    # The kernel makes no file system read-only while files are open for writing, so a library stands in for it.
    disk = PreloadedDisk(place.parent, place / "data")
    with _server(place / "data", models, **disk.env) as server:
        worker = server.pids(Role.WORKER)
        for order in orders:
            submit(server, order)
        disk.arm(Fault(DATA, errno.EROFS, 1, FOR_EVER))
        orders.append(Order("meanwhile", audio))
        answer = try_once(server, orders[-1])
        if answer is None or answer.status not in REFUSED:
            faults.append(
                f"a submission was answered {answer and answer.status}, {answer and answer.text[:300]}"
            )
        _expect_alive(server, faults)
        disk.disarm()
        _expect_all(server, orders, faults)
        if server.pids(Role.WORKER) != worker:
            faults.append("the worker was replaced")
    _remount(place, "ro")
    faults += _expect_no_start(place / "data", models, "can't be used")
    _remount(place, "rw")
    orders.append(Order("afterwards", audio))
    with _server(place / "data", models) as server:
        _expect_all(server, orders, faults)
    return faults + _stored_faults(place / "data", orders)


def damaged_database(place: Path, audio: Audio, models: Path) -> list[str]:
    """A database that is not whole is refused and left as it is; put back, it serves with all its jobs."""
    faults: list[str] = []
    data_dir = place / "service" / "data"
    orders = [Order(f"before-{n}", audio) for n in range(3)]
    with _server(data_dir, models) as server:
        _expect_all(server, orders, faults)
    database = data_dir / "jobs.sqlite3"
    whole = database.read_bytes()
    files = _listing(data_dir)
    for name, damaged in _damages(whole):
        database.write_bytes(damaged)
        faults += [f"{name}: {each}" for each in _expect_no_start(data_dir, models, "damaged")]
        if database.read_bytes() != damaged:
            faults.append(f"{name}: the damaged file was changed")
        if _listing(data_dir) != files:
            faults.append(
                f"{name}: files were added or removed: {sorted(set(_listing(data_dir)) ^ set(files))}"
            )
    database.write_bytes(whole)
    orders.append(Order("afterwards", audio))
    with _server(data_dir, models) as server:
        _expect_all(server, orders, faults)
    return faults + _stored_faults(data_dir, orders)


def two_services(place: Path, audio: Audio, models: Path) -> list[str]:
    """The second service on a folder is refused by name and harms nothing; it serves once the first is gone."""
    faults: list[str] = []
    data_dir = place / "service" / "data"
    orders = [Order("first", audio)]
    with _server(data_dir, models) as server:
        submit(server, orders[0])
        worker = server.pids(Role.WORKER)
        faults += _expect_no_start(data_dir, models, f"in use by the process {worker[0]}")
        orders.append(Order("after-the-second", audio))
        _expect_all(server, orders, faults)
        if server.pids(Role.WORKER) != worker:
            faults.append("the worker was replaced")
    with _server(data_dir, models) as server:
        _expect_all(server, orders, faults)
    return faults + _stored_faults(data_dir, orders)


class _UnsupervisedServer(SupervisedServer):
    """No supervisor hides that it ended."""

    def start(self, timeout: float = 60.0) -> SupervisedServer:
        Server.start(self, timeout)
        self.wait_ready()
        return self

    def stop(self, timeout: float = 15.0) -> int:
        return Server.stop(self, timeout)


def _server(data_dir: Path, models: Path, **env: str) -> _UnsupervisedServer:
    # The log is elsewhere: what a full disk does to it is not in question here.
    log_folder = data_dir.parents[1] / f"log-{time.time_ns()}"
    return _UnsupervisedServer(
        log_folder, settings(models, standin=True, WHISPER_DATA_DIR=str(data_dir), **env)
    )


def _expect_refusal_or_job(server: Server, order: Order, faults: list[str]) -> None:
    answer = try_once(server, order)
    if answer is None or answer.status not in REFUSED | {202}:
        faults.append(f"{order.key} was answered {answer and answer.status}: {answer and answer.text[:300]}")


def _expect_alive(server: Server, faults: list[str]) -> None:
    status = server.get("/health").status
    if status != 200:
        faults.append(f"/health answered {status}")


def _expect_all(server: Server, orders: list[Order], faults: list[str]) -> None:
    """Everything ordered comes through, what was refused by being sent again."""
    for order in orders:
        try:
            submit(server, order, timeout=60)
            job = wait_for_end(server, str(order.job_id), timeout=150)
        except (TimeoutError, RuntimeError) as error:
            faults.append(f"{order.key}: {str(error)[:1500]}")
            continue
        if job["status"] != "succeeded":
            faults.append(f"{order.key} {order.job_id} is {job['status']}: {job.get('error')}")


def _expect_no_start(data_dir: Path, models: Path, words: str) -> list[str]:
    """A start that is refused in these words."""
    # The log of this start is to be writable, whatever the data folder is.
    log_folder = Path(tempfile.mkdtemp())
    second = Server(log_folder, env=settings(models, standin=True, WHISPER_DATA_DIR=str(data_dir)))
    try:
        second.start(30)
    except RuntimeError as error:
        said = str(error)
        return [] if words in said else [f"the refusal says: {said[-1500:]}"]
    except TimeoutError as error:
        return [f"no refusal, no start: {str(error)[-1500:]}"]
    finally:
        shutil.rmtree(log_folder, ignore_errors=True)
    second.stop()
    return [f"it started, and was to say: {words}"]


def _stored_faults(data_dir: Path, orders: list[Order]) -> list[str]:
    rows: dict[Any, Any] = {}
    faults = []
    for row in stored_jobs(data_dir):
        if row["idempotency_key"] in rows:
            faults.append(f"two rows for {row['idempotency_key']}")
        rows[row["idempotency_key"]] = row
    for order in orders:
        if order.key not in rows or rows[order.key]["status"] != "succeeded":
            faults.append(f"the store has {rows.get(order.key)} for {order.key}")
    return faults


def _fill(ballast: Path, *, leave: int) -> None:
    """Fill the file system but for so many bytes, whatever uses it meanwhile."""
    ballast.unlink(missing_ok=True)
    deadline = time.monotonic() + 5
    with ballast.open("wb", buffering=0) as file:
        while (free := shutil.disk_usage(ballast.parent).free) > leave and time.monotonic() < deadline:
            try:
                file.write(bytes(min(free - leave, 1 << 20)))
            except OSError:
                return


def _remount(place: Path, mode: str) -> None:
    """ro works only while nobody has a file open for writing."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)


def _damages(whole: bytes) -> list[tuple[str, bytes]]:
    middle = len(whole) // 2
    return [
        ("no header", b"\0" * 100 + whole[100:]),
        ("a torn end", whole[: middle + 17]),
        ("garbage in the middle", whole[:4096] + b"\xa5" * (len(whole) - 4096)),
        ("not a database", b"This is a letter to my aunt.\n" * 400),
    ]


def _listing(data_dir: Path) -> list[str]:
    """Files that matter: SQLite's side files come and go with an opened database."""
    return sorted(
        str(path.relative_to(data_dir))
        for path in data_dir.rglob("*")
        if not path.name.endswith(("-wal", "-shm", ".log"))
    )
