from __future__ import annotations

import os
from pathlib import Path

import pytest

from transcriber.system.memory import automatic_budget, memory_limit, peak_bytes, resident_bytes

GIGABYTE = 1_000_000_000


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal:  1000 kB\nMemFree: 1 kB\n"}, 1_024_000),
        ({"proc/meminfo": "MemTotal: 1000 kB\n", "proc/self/cgroup": "0::/a/b\n"}, 1_024_000),
        (
            {
                "proc/meminfo": "MemTotal: 1000 kB\n",
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "500000\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
            },
            500_000,
        ),
        (
            {
                "proc/meminfo": "MemTotal: 1000 kB\n",
                "proc/self/cgroup": "5:cpu,memory:/docker/x\n1:name=systemd:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "400000\n",
            },
            400_000,
        ),
    ],
)
def test_limit_is_the_least_of_machine_and_cgroups(
    tmp_path: Path, files: dict[str, str], limit: int | None
) -> None:
    assert memory_limit(put(tmp_path, files)) == limit


def test_this_machine_has_a_limit() -> None:
    limit = memory_limit()
    assert limit is not None
    assert limit > 10**8


@pytest.mark.parametrize(
    ("limit", "budget"),
    [(None, None), (24 * GIGABYTE, 19_200_000_000), (2 * GIGABYTE, 1_232_000_000), (GIGABYTE, 500_000_000)],
)
def test_automatic_budget_leaves_something_to_others(limit: int | None, budget: int | None) -> None:
    assert automatic_budget(limit) == budget


def test_process_is_measured_until_it_is_gone() -> None:
    peak, resident = peak_bytes(os.getpid()), resident_bytes(os.getpid())
    assert peak and resident
    assert peak >= resident > 1_000_000
    assert peak_bytes(2**22 + 1) is None
