"""What changed between two snapshots, and the likely effect of each change in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .snapshot import UNVERIFIED, Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One fact that is not what it was. None: it was not there, or is gone."""

    name: str
    before: str | None
    after: str | None
    effect: str


_REPROVE = "The GPU has to prove itself anew, and stored speeds are those of the old one."

#: What a change of each fact does, as a rule.
EFFECTS: dict[str, str] = {
    "driver": "Kernels may be compiled anew at the first start; a reboot is due if the library and the kernel "
    "module are of different versions.",
    "cuda": "A newer one runs all that the older one ran; an older one may refuse CTranslate2's PTX.",
    "cublas": "Results may differ in the last digits, and speed may change.",
    "ctranslate2": "Kernels, their cards and the effective number format may be others; results may differ.",
    "faster_whisper": "Features, voice detection or the tokenizer may differ, and the text with them.",
    "gpu_name": f"Speed, memory and the number formats are another card's. {_REPROVE}",
    "gpu_uuid": f"It is another card or another MIG slice. {_REPROVE}",
    "compute_capability": f"Other kernels run. {_REPROVE}",
    "kernels": "Other code runs: results may differ in the last digits. PTX is compiled at the first start, which "
    "then takes longer.",
    "compute_type": "Memory, speed and the last digits of the results change.",
    "models": "The text of the same audio may differ.",
    "python": "Packages were installed anew for it; nothing else as a rule.",
    "os": "The driver may have come with it; look for its own line here.",
    "kernel": "The driver's module must fit it: if the GPU is gone, reinstall the driver (DKMS) and reboot.",
}

#: Facts that come and go with the GPU, whose own line says what that does.
_OF_THE_GPU = ("gpu_name", "compute_capability", "kernels", "compute_type")

#: What it means that a fact has come or gone.
_GONE: dict[str, str] = {
    "driver": "The GPU can't be used until the driver is back.",
    "cuda": "The GPU can't be used until the driver is back.",
    "cublas": "The GPU can't be used until libcublas.so.12 is back.",
    "ctranslate2": "Nothing can be transcribed until it is installed.",
    "gpu_uuid": "Work goes to the CPU, or is refused where the GPU is required.",
    **dict.fromkeys(_OF_THE_GPU, "It is not known while no GPU can be used."),
}
_UNREAD = "Nothing by itself: the driver answers, and only its version can be read now or not any more, as in a container."
_NEW: dict[str, str] = {
    "gpu_uuid": "A GPU can be used that was not there before.",
    "models": "It can be asked for by name.",
    **dict.fromkeys(_OF_THE_GPU, "It came with the GPU."),
}


def diff(last: Snapshot, now: Snapshot) -> tuple[Change, ...]:
    """Every fact that changed, each model on its own line, in the order of the table."""
    if last.digest == now.digest:
        return ()
    before, after = last.to_dict(), now.to_dict()
    changes: list[Change] = []
    for name in EFFECTS:
        if name == "models":
            changes += _changes_of_models(before["models"], after["models"])
        elif before[name] != after[name]:
            changes.append(_change(name, name, before[name], after[name]))
    return tuple(
        _unread(change) if change.name == "driver" and now.gpu_uuid is not None else change
        for change in changes
    )


def _unread(change: Change) -> Change:
    """The GPU is there, so where its version has come or gone, only that can be read now, or not any more."""
    if change.before is not None and change.after is not None:
        return change
    return replace(change, effect=_UNREAD)


def _changes_of_models(before: dict[str, str], after: dict[str, str]) -> list[Change]:
    return [
        _change("models", f"model {name}", before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and not _is_now_verified(before.get(name), after.get(name))
    ]


def _is_now_verified(before: str | None, after: str | None) -> bool:
    """Whether the same model was hashed in between (or its hash forgotten), which changes nothing."""
    seen = [value for value in (before, after) if value is not None]
    return len(seen) == 2 and sum(value.startswith(UNVERIFIED) for value in seen) == 1


def _change(row: str, name: str, before: str | None, after: str | None) -> Change:
    return Change(name=name, before=before, after=after, effect=_effect(row, before, after))


def _effect(row: str, before: str | None, after: str | None) -> str:
    if after is None:
        return _GONE.get(row, "It is not here any more." if row == "models" else EFFECTS[row])
    if before is None:
        return _NEW.get(row, EFFECTS[row])
    return EFFECTS[row]
