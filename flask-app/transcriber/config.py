"""Settings: one row each, with every name it is read from, its default and its trade-off.

Read once, by bootstrap alone; parts get plain values. docs/settings.md is checked against this file.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .domain.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def _text(value: str) -> str:
    return value


def _key(value: str) -> str:
    # A key that nobody can send, or that a slip of the pen left empty, is no protection.
    if not value.strip() or not value.isprintable():
        raise ValueError("printable characters on one line, not spaces alone")
    return value


def _networks(value: str) -> tuple[str, ...]:
    networks = _words(value)
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError("networks as 10.0.0.0/8 or fd00::/8, comma-separated") from None
    return networks


def _boolean(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered in _TRUE | _FALSE:
        return lowered in _TRUE
    raise ValueError("true or false")


def _path(value: str) -> Path:
    return Path(value).expanduser().resolve()


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _folders(value: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser() for part in value.split(os.pathsep) if part)


def _arguments(value: str) -> tuple[str, ...]:
    return tuple(value.split())


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.strip().lower() not in allowed:
            raise ValueError(" or ".join(allowed))
        return value.strip().lower()

    return parse


def _setting(
    default: Any, names: str, parse: Callable[[str], Any], help: str, *, secret: bool = False
) -> Any:
    """One row. `names`: the variables it is read from, the first that is set wins."""
    return field(
        default=default,
        metadata={"names": tuple(names.split()), "parse": parse, "help": help, "secret": secret},
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one installation. `sources` says where each value came from."""

    host: str = _setting(
        "127.0.0.1",
        "WHISPER_HOST",
        _text,
        "Address to listen on. Any address that is not loopback needs WHISPER_API_KEY or WHISPER_ALLOW_ANONYMOUS.",
    )
    port: int = _setting(5000, "WHISPER_PORT PORT", _integer(1, 65535), "Port to listen on.")
    api_key: str = _setting(
        "",
        "WHISPER_API_KEY",
        _key,
        "Key that every request must carry (Authorization: Bearer KEY); browsers sign in with it. Empty: no key.",
        secret=True,
    )
    session_hours: int = _setting(
        168,
        "WHISPER_SESSION_HOURS",
        _integer(1, 24 * 365),
        "Hours a browser stays signed in. Another WHISPER_API_KEY ends all sessions at once.",
    )
    allow_anonymous: bool = _setting(
        False,
        "WHISPER_ALLOW_ANONYMOUS",
        _boolean,
        "Allow listening on a network address without a key. Everyone who reaches the port can then use the GPU.",
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "WHISPER_ALLOWED_HOSTS",
        _words,
        "Host names to answer for, comma-separated, besides loopback, WHISPER_HOST and this machine's name. '*' answers for all and gives up the guard against DNS rebinding.",
    )
    model: str = _setting(
        "base",
        "WHISPER_MODEL",
        _text,
        "Model used when a request names none: a catalogue name, a hub repository or a folder. Larger is slower and better.",
    )
    model_path: Path | None = _setting(
        None,
        "WHISPER_MODEL_PATH",
        _path,
        "A folder with a converted model, used in place of WHISPER_MODEL; or a folder of such folders, looked up by name.",
    )
    device: str = _setting(
        "auto",
        "WHISPER_DEVICE DEVICE",
        _choice("auto", "cuda", "cpu"),
        "cpu turns the GPU policy off; cuda wants the GPU by default and leaves the policy as it is; auto changes nothing.",
    )
    gpu_policy: str = _setting(
        "preferred",
        "WHISPER_GPU_POLICY",
        _choice("required", "preferred", "off"),
        "required: no answer without a proven GPU. preferred: the CPU may serve, and every answer says so. off: CPU.",
    )
    default_use_gpu: bool = _setting(
        True,
        "WHISPER_DEFAULT_USE_GPU",
        _boolean,
        "Whether a request that does not say use_gpu wants the GPU.",
    )
    gpu_device: str = _setting(
        "0",
        "WHISPER_GPU_DEVICE",
        _text,
        "Which GPU: an index in PCI order, or a UUID (GPU-… or MIG-…), which stays true when cards move.",
    )
    gpu_compute_type: str = _setting(
        "auto",
        "WHISPER_GPU_COMPUTE_TYPE",
        _choice(
            "auto", "float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16"
        ),
        "Number format on the GPU. auto: float16 where the card computes it well, else float32. int8_float16 halves the memory.",
    )
    strict_matrix: bool = _setting(
        False,
        "WHISPER_STRICT_MATRIX",
        _boolean,
        "Use the GPU only in a combination that the pinned table calls known good. Safe against surprises; a new driver is fine, a new CTranslate2 or card is refused until the table names it.",
    )
    cpu_compute_type: str = _setting(
        "int8",
        "WHISPER_CPU_COMPUTE_TYPE",
        _choice("int8", "int8_float32", "float32"),
        "Number format on the CPU. int8 is twice as fast as float32 and hardly less exact.",
    )
    compute_type: str = _setting(
        "",
        "COMPUTE_TYPE",
        _text,
        "Taken for the GPU's and the CPU's type where that device allows it and its own variable is not set.",
    )
    vad_filter: bool = _setting(
        True,
        "WHISPER_VAD",
        _boolean,
        "Whether silence is cut out before transcribing, when a request does not say. Off invites invented text in silence.",
    )
    cudnn_extra_lib_dirs: tuple[Path, ...] = _setting(
        (),
        "CUDNN_EXTRA_LIB_DIRS",
        _folders,
        "More folders (colon-separated) to look for CUDA libraries in.",
    )
    ct2_use_cudnn: str = _setting(
        "",
        "CT2_USE_CUDNN",
        _text,
        "Accepted because people set it; CTranslate2 has no such variable, and diagnostics says so.",
    )
    data_dir: Path = _setting(
        ROOT / "data",
        "WHISPER_DATA_DIR DATA_DIR",
        _path,
        "Folder for uploads, results, the job store and models.",
    )
    output_dir: Path | None = _setting(
        None,
        "TRANSCRIPTION_OUTPUT_DIR",
        _path,
        "Folder that also receives every finished transcript as NAME.JOBID.txt and .json.",
    )
    max_upload_bytes: int = _setting(
        2 * 1024**3,
        "WHISPER_MAX_UPLOAD_BYTES",
        _integer(1, 2**50),
        "Largest upload in bytes; more is refused while it is read.",
    )
    max_audio_seconds: int = _setting(
        12 * 3600,
        "WHISPER_MAX_AUDIO_SECONDS",
        _integer(1, 10**7),
        "Longest audio in seconds; more is refused while it is decoded.",
    )
    decode_timeout_seconds: int = _setting(
        600,
        "WHISPER_DECODE_TIMEOUT_SECONDS",
        _integer(1, 86400),
        "Time after which decoding one upload is given up.",
    )
    max_queue: int = _setting(
        100,
        "WHISPER_MAX_QUEUE",
        _integer(0, 10**6),
        "Jobs that may wait. A low limit refuses early instead of letting people wait for too long.",
    )
    max_running: int = _setting(
        4,
        "WHISPER_MAX_RUNNING",
        _integer(1, 256),
        "Jobs worked on at once. They share the engine's batches; more keeps a GPU fed and slows each job on a CPU.",
    )
    short_seconds: int = _setting(
        60,
        "WHISPER_SHORT_SECONDS",
        _integer(0, 3600),
        "Audio up to this length is a short job: it gets a slot of its own kind and does not wait behind long files. 0: no job is short.",
    )
    short_slots: int = _setting(
        2,
        "WHISPER_SHORT_SLOTS",
        _integer(0, 64),
        "Slots for short jobs, besides WHISPER_MAX_RUNNING. More answer more clips at once while long files run, and slow those down. 0: short jobs wait with the others.",
    )
    job_timeout_seconds: int = _setting(
        0,
        "WHISPER_JOB_TIMEOUT_SECONDS",
        _integer(0, 10**7),
        "Time a running job may take before it fails with job_timeout; a restart begins it anew. 0: half an hour and one minute for each second of audio.",
    )
    keep_uploads_hours: int = _setting(
        24,
        "WHISPER_KEEP_UPLOADS_HOURS",
        _integer(0, 10**6),
        "Hours an upload is kept after its job has ended, so that the job can be retried. A cancelled job's upload goes at once. 0: until the next sweep, ten minutes at most.",
    )
    keep_unfinished_hours: int = _setting(
        24,
        "WHISPER_KEEP_UNFINISHED_HOURS",
        _integer(1, 10**6),
        "Hours an upload that was cut off rests before it is removed; until then it can go on where it stopped, also after a restart.",
    )
    keep_results_days: int = _setting(
        30,
        "WHISPER_KEEP_RESULTS_DAYS",
        _integer(0, 10**5),
        "Days that transcripts and the rows of ended jobs are kept. Files in TRANSCRIPTION_OUTPUT_DIR stay.",
    )
    disk_budget_bytes: int = _setting(
        0,
        "WHISPER_DISK_BUDGET_BYTES",
        _integer(0, 2**60),
        "Bytes that uploads and results may take together; the oldest of ended jobs go first. 0: as much as the disk has.",
    )
    disk_reserve_bytes: int = _setting(
        512 * 1024**2,
        "WHISPER_DISK_RESERVE_BYTES",
        _integer(0, 2**60),
        "Bytes of the disk that are left to everyone else: uploads that would eat into them are refused with 507.",
    )
    webhook_allow_cidr: tuple[str, ...] = _setting(
        (),
        "WHISPER_WEBHOOK_ALLOW_CIDR",
        _networks,
        "Networks of one's own (as 10.0.0.0/8, comma-separated) that webhooks may be sent to. Others that are not public are refused, so that nobody reaches your inside through this service.",
    )
    engine_start: str = _setting(
        "boot",
        "WHISPER_ENGINE_START",
        _choice("boot", "lazy"),
        "boot: load the default model at start. lazy: at the first request, which then waits for it. With WHISPER_GPU_POLICY=required the GPU's engine starts at boot in any case: that is its proof.",
    )
    engine_start_timeout_seconds: int = _setting(
        300,
        "WHISPER_ENGINE_START_TIMEOUT_SECONDS",
        _integer(1, 3600),
        "Time an engine has to become ready. The first start on a new GPU can compile kernels for a minute.",
    )
    selftest_interval_seconds: int = _setting(
        300,
        "WHISPER_SELFTEST_INTERVAL_SECONDS",
        _integer(0, 86400),
        "How often an engine that is up is tested anew, between two batches: numbers, words, device and speed. A test takes what one short clip takes, three times on a GPU, and never more than 2 % of the time. 0: only at the engine's start and on demand.",
    )
    selftest_timeout_seconds: int = _setting(
        60,
        "WHISPER_SELFTEST_TIMEOUT_SECONDS",
        _integer(1, 3600),
        "How long an engine without other work may be silent when it is to test itself; then it is ended and started again. An engine whose first test took long has ten times that.",
    )
    gpu_watch_seconds: int = _setting(
        60,
        "WHISPER_GPU_WATCH_SECONDS",
        _integer(1, 3600),
        "How often a GPU that can't serve is looked at again, in a child. Where there is no sign of a GPU, the wait grows to ten times this.",
    )
    engine_stall_seconds: int = _setting(
        900,
        "WHISPER_ENGINE_STALL_SECONDS",
        _integer(1, 86400),
        "Time an engine with work may say nothing before it is taken for stuck and ended. Longer than its slowest batch takes.",
    )
    max_engines: int = _setting(
        3,
        "WHISPER_MAX_ENGINES",
        _integer(1, 32),
        "Engine children (device and model) kept up at once; the one idle longest makes room.",
    )
    batch_size: int = _setting(
        8,
        "WHISPER_BATCH_SIZE",
        _integer(1, 128),
        "Windows that go through the model together. More is faster on a GPU and takes more memory. On a CPU never more than 4, as more gain nothing there.",
    )
    cpu_threads: int = _setting(
        0, "WHISPER_CPU_THREADS", _integer(0, 1024), "Threads of a CPU engine; 0: one for each core."
    )
    cpu_lanes: int = _setting(
        0,
        "WHISPER_CPU_LANES",
        _integer(0, 64),
        "Batches that a CPU engine computes side by side, which share its threads; 0: two, from 8 threads on four.",
    )
    model_download: bool = _setting(
        False,
        "WHISPER_MODEL_DOWNLOAD",
        _boolean,
        "Whether a model that is not on this machine may be fetched from the hub.",
    )
    log_level: str = _setting(
        "info",
        "WHISPER_LOG_LEVEL",
        _choice("debug", "info", "warning", "error"),
        "Least level that is logged.",
    )
    engine_command: tuple[str, ...] = _setting(
        (),
        "WHISPER_ENGINE_COMMAND",
        _arguments,
        "Program started as engine child, in place of our own: for tests and for wrappers such as a profiler.",
    )
    sources: Mapping[str, str] = field(default_factory=dict)

    def public(self) -> list[dict[str, str]]:
        """Name, value and source of every setting, secrets hidden. For diagnostics."""
        rows = []
        for row in rows_of_settings():
            value = getattr(self, row.name)
            if row.secret:
                shown = "(set)" if value else ""
            elif isinstance(value, tuple):
                shown = ",".join(map(str, value))
            else:
                shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            rows.append(
                {"name": row.names[0], "value": shown, "source": self.sources.get(row.name, "default")}
            )
        return rows


@dataclass(frozen=True, kw_only=True)
class SettingRow:
    """A setting as documentation sees it."""

    name: str
    names: tuple[str, ...]
    default: Any
    help: str
    secret: bool


def rows_of_settings() -> list[SettingRow]:
    """Every setting, in the order of the file."""
    return [
        SettingRow(
            name=f.name,
            names=f.metadata["names"],
            default=f.default,
            help=f.metadata["help"],
            secret=f.metadata["secret"],
        )
        for f in fields(Settings)
        if f.metadata
    ]


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from these variables. Raises ConfigError that names the variable and what is allowed."""
    known = {name for row in rows_of_settings() for name in row.names}
    unknown = sorted(n for n in environ if n.startswith("WHISPER_") and n not in known)
    if unknown:
        raise ConfigError(
            f"Unknown setting {', '.join(unknown)}.",
            code="unknown_setting",
            fix="Check the spelling against docs/settings.md, or unset it.",
        )
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in fields(Settings):
        for name in f.metadata.get("names", ()):
            given = environ.get(name, "")
            if given == "":
                continue
            try:
                values[f.name] = f.metadata["parse"](given)
            except ValueError as error:
                shown = "its value" if f.metadata["secret"] else repr(given)
                raise ConfigError(
                    f"{name} was {shown}; allowed: {error}.",
                    param=name,
                    fix=f"Set {name} to {error}, or unset it.",
                ) from None
            sources[f.name] = name
            break
    return _resolve(Settings(**values, sources=sources))


def _resolve(settings: Settings) -> Settings:
    """Apply the settings that speak about other settings."""
    changes: dict[str, Any] = {}
    sources = dict(settings.sources)
    if settings.device == "cpu":
        changes["gpu_policy"] = "off"
        sources["gpu_policy"] = f"{sources['device']}=cpu"
    elif settings.device == "cuda" and "default_use_gpu" not in sources:
        changes["default_use_gpu"] = True
        sources["default_use_gpu"] = f"{sources['device']}=cuda"
    for name in ("gpu_compute_type", "cpu_compute_type"):
        parse = next(f.metadata["parse"] for f in fields(Settings) if f.name == name)
        if settings.compute_type and name not in sources:
            try:
                changes[name] = parse(settings.compute_type)
                sources[name] = "COMPUTE_TYPE"
            except ValueError:
                continue
    current = {f.name: getattr(settings, f.name) for f in fields(Settings)}
    return Settings(**(current | changes | {"sources": sources}))


def is_loopback(host: str) -> bool:
    """Whether this address can be reached from this machine only. Of names, `localhost` alone is known to be."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listening(settings: Settings) -> None:
    """Refuse to listen on a network address without a key. Raises ConfigError."""
    if is_loopback(settings.host) or settings.api_key or settings.allow_anonymous:
        return
    raise ConfigError(
        f"WHISPER_HOST={settings.host} can be reached from the network, and there is no key.",
        code="key_required",
        param="WHISPER_HOST",
        fix="Set WHISPER_API_KEY to a long random text (openssl rand -hex 32), or WHISPER_ALLOW_ANONYMOUS=true "
        "if everyone who reaches the port may use the service.",
    )


_MARKDOWN_HEAD = """# Settings

Environment variables, read once at start. Where a row has several names, the first that is set wins, so `WHISPER_*`
beats the bare names that operators know. An unknown `WHISPER_*` variable, or a value that is not allowed, refuses the
start with the name and what is allowed. `GET /diagnostics` and `python -m transcriber doctor` show the settings in
force with their source. This page is written by `scripts/docs` from `flask-app/transcriber/config.py`.

| variable | default | meaning |
|---|---|---|
"""


def settings_markdown(rows: list[SettingRow]) -> str:
    """The page docs/settings.md."""
    lines = []
    for row in rows:
        names = ", ".join(f"`{name}`" for name in row.names)
        if isinstance(row.default, bool):
            default = str(row.default).lower()
        elif isinstance(row.default, Path):
            default = f"<project>/{row.default.relative_to(ROOT)}"
        else:
            default = "" if row.default in (None, (), "") else str(row.default)
        lines.append(
            f"| {names} | {f'`{default}`' if default else 'empty'} | {row.help.replace('|', '/')} |\n"
        )
    return _MARKDOWN_HEAD + "".join(lines)
