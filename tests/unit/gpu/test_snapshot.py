"""The snapshot: its facts, its hash, what changed, and the store that keeps the last ones."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest

from fake_gpu import NOW, make_device, make_report, make_status, make_status_without_driver
from transcriber.gpu.drift import EFFECTS, diff
from transcriber.gpu.probe.facts import CTranslate2Facts
from transcriber.gpu.probe.kernels import Kernels
from transcriber.gpu.probe.sharing import SharingFacts
from transcriber.gpu.snapshot import Snapshot, parse, take
from transcriber.gpu.snapshot_store import SnapshotStore

DOCUMENT = Path(__file__).parents[3] / "docs/gpu-operations.md"
VERSIONS = {"python": "3.11.7", "os": "Debian", "kernel": "6.1", "packages": {"faster-whisper": "1.2.1"}}
BASE = Snapshot(driver="570.124.06", cuda="12.8", ctranslate2="4.8.5", models={"base": "aa"})


WITH_GPU = replace(
    BASE,
    gpu_name="NVIDIA L4",
    gpu_uuid="GPU-1",
    compute_capability="8.9",
    kernels="machine code 8.6",
    compute_type="float16",
)


def test_snapshot_of_a_healthy_machine_has_every_fact() -> None:
    kernels = Kernels(machine_code=("8.0", "8.6"), ptx=("8.6",), ptx_isa="8.7")
    status = make_status(ctranslate2=CTranslate2Facts(version="4.8.5", cuda_compiled=True, kernels=kernels))

    snapshot = take(status, VERSIONS, {"base": "aa"})

    assert snapshot == Snapshot(
        driver="570.124.06",
        cuda="12.8",
        cublas=None,
        ctranslate2="4.8.5",
        faster_whisper="1.2.1",
        gpu_name="NVIDIA L4",
        gpu_uuid="GPU-11111111-0000-0000-0000-000000000000",
        compute_capability="8.9",
        kernels="machine code 8.6",
        compute_type="float16",
        models={"base": "aa"},
        python="3.11.7",
        os="Debian",
        kernel="6.1",
    )


def test_machine_without_gpu_has_a_snapshot_too() -> None:
    snapshot = take(make_status_without_driver(), VERSIONS, {})

    assert (snapshot.gpu_name, snapshot.driver, snapshot.compute_type) == (None, None, None)
    assert (snapshot.ctranslate2, snapshot.python) == ("4.8.5", "3.11.7")


def test_drivers_version_comes_from_nvml_where_proc_hides_it() -> None:
    device = make_device(sharing=SharingFacts(nvml_driver="580.65.06"))
    report = make_status(devices=(device,))
    hidden = replace(report.driver, kernel_module_version=None)

    assert take(replace(report, driver=hidden), {}, {}).driver == "580.65.06"


def test_type_that_the_card_lacks_is_kept_as_it_was_set() -> None:
    report = make_status(devices=(make_device(compute_types=("float32",)),), gpu_compute_type="float16")

    assert take(report, {}, {}).compute_type == "float16"


def test_canonical_text_and_hash_do_not_depend_on_order() -> None:
    one = Snapshot(models={"base": "aa", "tiny": "bb"}, python="3.11")
    other = Snapshot(python="3.11", models={"tiny": "bb", "base": "aa"})

    assert one.canonical == other.canonical
    assert one.digest == other.digest
    assert len(one.digest) == 64
    assert list(json.loads(one.canonical)) == sorted(json.loads(one.canonical))


@pytest.mark.parametrize("name", [f.name for f in fields(Snapshot) if f.name != "models"])
def test_each_fact_changes_the_hash_and_is_named_with_its_effect(name: str) -> None:
    now = replace(BASE, **{name: "another"})

    changes = diff(BASE, now)

    assert now.digest != BASE.digest
    assert [(change.name, change.before, change.after) for change in changes] == [
        (name, getattr(BASE, name), "another")
    ]
    assert changes[0].effect.endswith(".")


def test_each_fact_has_its_effect_in_the_table_and_the_docs() -> None:
    assert set(EFFECTS) == {f.name for f in fields(Snapshot)}
    text = DOCUMENT.read_text()
    for name, effect in EFFECTS.items():
        assert f"| `{name}` | {effect} |" in text


def test_no_change_has_no_lines() -> None:
    assert diff(BASE, replace(BASE)) == ()


def test_models_change_one_by_one() -> None:
    now = replace(BASE, models={"base": "bb", "tiny": "cc"})

    changes = diff(BASE, now)

    assert [(change.name, change.before, change.after) for change in changes] == [
        ("model base", "aa", "bb"),
        ("model tiny", None, "cc"),
    ]
    assert "differ" in changes[0].effect
    assert diff(now, replace(now, models={"base": "bb"}))[0].effect == "It is not here any more."


def test_first_verification_of_a_model_is_no_change() -> None:
    before = replace(BASE, models={"base": "not verified, 7 bytes"})

    assert diff(before, BASE) == ()
    assert diff(before, replace(BASE, models={"base": "not verified, 8 bytes"})) != ()


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("cuda", "12.8", None, "can't be used"),
        ("gpu_uuid", "GPU-1", None, "Work goes to the CPU"),
        ("gpu_uuid", None, "GPU-1", "can be used that was not there"),
        ("gpu_uuid", "GPU-1", "GPU-2", "another card or another MIG slice"),
        ("cublas", "12.9.1", None, "libcublas.so.12 is back"),
    ],
)
def test_coming_and_going_have_effects_of_their_own(
    name: str, before: str | None, after: str | None, words: str
) -> None:
    changes = diff(replace(BASE, **{name: before}), replace(BASE, **{name: after}))

    assert words in changes[0].effect


@pytest.mark.parametrize(("before", "after"), [("570", None), (None, "570")])
def test_driver_whose_version_alone_comes_or_goes_changes_nothing(
    before: str | None, after: str | None
) -> None:
    [change] = diff(replace(WITH_GPU, driver=before), replace(WITH_GPU, driver=after))

    assert "only its version" in change.effect


def test_driver_that_is_gone_takes_the_gpu_with_it() -> None:
    of_gpu = dict.fromkeys(("gpu_name", "gpu_uuid", "compute_capability", "kernels", "compute_type"))
    gone = replace(BASE, driver=None, cuda=None, **of_gpu)

    effects = {change.name: change.effect for change in diff(WITH_GPU, gone)}
    back = {change.name: change.effect for change in diff(gone, WITH_GPU)}

    assert effects["driver"] == effects["cuda"] == "The GPU can't be used until the driver is back."
    assert effects["gpu_name"] == effects["kernels"] == "It is not known while no GPU can be used."
    assert back["gpu_name"] == "It came with the GPU."
    assert back["gpu_uuid"] == "A GPU can be used that was not there before."


def test_store_gives_back_the_last_and_keeps_only_the_newest(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "snapshots", keep=3)
    assert store.last() is None

    for minute in range(5):
        store.save(replace(BASE, python=f"3.{minute}"), NOW + timedelta(minutes=minute))

    assert store.last() == replace(BASE, python="3.4")
    assert len(store) == 3
    assert not [path for path in (tmp_path / "snapshots").iterdir() if path.name.startswith(".")]


def test_stored_text_hashes_to_the_digest(tmp_path: Path) -> None:
    path = SnapshotStore(tmp_path).save(BASE, NOW)

    assert path.name == f"20261121T120000.000000Z-{BASE.digest[:12]}.json"
    assert path.read_bytes() == BASE.canonical.encode() + b"\n"
    assert parse(path.read_bytes()) == BASE


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"models": 3}', b"\xff\xfe", b" " * (2 << 20)])
def test_damaged_file_is_passed_over(tmp_path: Path, content: bytes) -> None:
    store = SnapshotStore(tmp_path)
    store.save(BASE, NOW)
    (tmp_path / "20991231T000000.000000Z-000000000000.json").write_bytes(content)

    assert store.last() == BASE


def test_facts_of_a_later_version_are_left_out() -> None:
    later = {**BASE.to_dict(), "quantum": "yes"}

    assert parse(json.dumps(later).encode()) == BASE


def test_folder_that_can_not_be_written_raises_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OSError, match="file"):
        SnapshotStore(tmp_path / "file" / "snapshots").save(BASE, NOW)


def test_report_and_status_give_the_same_snapshot() -> None:
    report = replace(make_report(), selected=make_device())

    assert take(report, VERSIONS, {}).digest == take(make_status(), VERSIONS, {}).digest
