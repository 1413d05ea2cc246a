"""The diagnostics for a terminal, the verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .diagnostics import Diagnostics, duration


def render_text(diagnostics: Diagnostics) -> str:
    """The same facts for a terminal, the verdict first."""
    d = diagnostics
    sections = [
        [d.verdict],
        [f"status: {d.status}   gpu policy: {d.gpu_policy}   checked: {d.gpu_checked_at}"],
        _lines_of_reasons("Problems", d.problems),
        _lines_of_reasons("Notes", d.notes),
        _lines_of_workers(d.workers),
        _lines_of_driver(d),
        _lines_of_sharing(d),
        ["Libraries", *(line for library in d.libraries for line in _lines_of_library(library))],
        _lines_of_ctranslate2(d.ctranslate2),
        _lines("Engines", [_line_of_engine(engine) for engine in d.engines], "none is running"),
        _lines_of_pipeline(d.pipeline),
        _lines_of_unloaded(d.unloaded),
        _lines("Last job's receipt", _pairs(d.last_receipt or {}), "no job yet"),
        _lines("Models", [_line_of_model(model) for model in d.models], "none"),
        _lines("Settings", [f"{s['name']}={s['value']}  ({s['source']})" for s in d.settings], "none"),
        _lines_of_snapshot(d),
        _lines("Media sandbox", _pairs(d.media_sandbox), "not looked at"),
        _lines(
            "Versions", _pairs({**d.versions, **d.versions.get("packages", {}), "packages": None}), "unknown"
        ),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _lines(title: str, rows: Sequence[str], otherwise: str) -> list[str]:
    return [title, *(f"  {row}" for row in rows or [otherwise])]


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in values.items() if value is not None]


def _lines_of_reasons(title: str, reasons: Sequence[Mapping[str, str]]) -> list[str]:
    rows = [row for r in reasons for row in (f"[{r['code']}] {r['message']}", f"  fix: {r['fix']}")]
    return [title, *(f"  {row}" for row in rows)] if rows else []


def _lines_of_unloaded(engines: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"  {each['model']} on {each['device']}: unloaded {each['unloaded_at']}, last proven at {each['proven_at']}"
        for each in engines
    ]
    return ["Unloaded engines", *rows] if rows else []


def _lines_of_pipeline(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [f"  {each['name']}: {each['outcome']}" + _took(each["seconds"]) for each in stages]
    return ["Pipeline check", *rows] if rows else []


def _took(seconds: float | None) -> str:
    return f" in {seconds} s" if seconds is not None else ""


def _lines_of_workers(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"  {each['id']}: {each['status']}, {each['model']} on {each['device'] or 'no device yet'} "
        f"({each['compute_type']}), {each['running']} of {each['slots']} jobs, version {each['version']}"
        for each in workers
    ]
    return ["Workers", *rows] if rows else []


def _lines_of_driver(d: Diagnostics) -> list[str]:
    driver = d.driver
    loaded = f"{driver['version']} at {driver['libcuda_path']}" if driver["loaded"] else driver["load_error"]
    rows = [f"libcuda.so.1: {loaded}", f"kernel module: {driver['kernel_module_version'] or 'not loaded'}"]
    rows.append(f"hardware: {', '.join(d.hardware['found']) or 'no sign of an NVIDIA GPU'}")
    if driver["init_code"] is not None:
        rows.append(f"cuInit: {driver['init_code']}   devices: {driver['device_count'] or 0}")
    for device in d.devices:
        mark = "*" if d.selected_device and device["uuid"] == d.selected_device["uuid"] else " "
        memory = f"{device['memory_bytes'] / 1024**3:.1f} GiB"
        rows.append(
            f"{mark} {device['index']}: {device['name']} {device['uuid']} "
            f"compute capability {device['compute_capability']}, {memory}"
        )
    return ["Driver and devices", *(f"  {row}" for row in rows)]


def _lines_of_sharing(d: Diagnostics) -> list[str]:
    """The selected GPU's company and memory; nothing where no GPU is selected."""
    if d.sharing is None:
        return []
    hidden = dict.fromkeys(("summary", "unavailable", "mps_signs", "own_processes"))
    shown = {**d.sharing, **(d.memory or {}), **hidden}
    missing = [f"{name}: not available here: {why}" for name, why in d.sharing["unavailable"].items()]
    return [
        "Sharing and memory",
        f"  {d.sharing['summary']}",
        *(f"  {row}" for row in _pairs(shown) + missing),
    ]


def _lines_of_snapshot(d: Diagnostics) -> list[str]:
    """The verdict of the pinned table, what changed since the last start, and the hash of it all."""
    if d.snapshot is None:
        return []
    rows = [f"sha256: {d.snapshot['sha256']}"]
    if d.compatibility is not None:
        rows.append(f"compatibility: {d.compatibility['verdict']}: {d.compatibility['why']}")
    rows += [f"{c['name']}: {c['before']} -> {c['after']}  ({c['effect']})" for c in d.changes]
    rows += [] if d.changes else ["no change is known since the last start"]
    return ["Snapshot", *(f"  {row}" for row in rows)]


def _lines_of_library(library: Mapping[str, Any]) -> list[str]:
    chosen = library["chosen"]
    need = "" if library["needed"] else " (not needed)"
    if chosen is None:
        lines = [f"  {library['name']}{need}: none in use"]
    else:
        version = chosen["version"] or "version unknown"
        lines = [f"  {library['name']}{need}: {version}, {chosen['path']}, found via {chosen['found_via']}"]
    rejected = [candidate for candidate in library["candidates"] if candidate["rejected"]]
    return lines + [f"    rejected {c['path']} ({c['found_via']}): {c['rejected']}" for c in rejected]


def _lines_of_ctranslate2(facts: Mapping[str, Any]) -> list[str]:
    needs = {None: "not known", True: "needs cuDNN 9", False: "needs no cuDNN"}[facts["needs_cudnn"]]
    built = {None: "not known", True: "built with CUDA", False: "built without CUDA"}[facts["cuda_compiled"]]
    rows = [f"version {facts['version'] or 'unknown'}, {built}, {needs}"]
    rows += [f"{device}: {', '.join(types) or 'unknown'}" for device, types in facts["compute_types"].items()]
    rows += [f"{name}: {facts[name]}" for name in ("import_error", "cuda_error") if facts[name]]
    return ["CTranslate2", *(f"  {row}" for row in rows)]


def _line_of_engine(engine: Mapping[str, Any]) -> str:
    return (
        f"pid {engine['pid']}: {engine['model']} on {engine['device']} ({engine['compute_type']}), "
        f"warm-up ran on {engine['warmup_device']}, up {duration(engine['uptime'])}"
    )


def _line_of_model(model: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in model.items() if value not in (None, ""))
