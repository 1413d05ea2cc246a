"""The table of settings: one row each, with every name it is read from, its default and its trade-off.

config/loader.py reads and checks them; docs/settings.md is checked against this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..system.paths import PROJECT
from .parsers import (
    address,
    arguments,
    boolean,
    choice,
    database_url,
    folders,
    formats,
    host_names,
    integer,
    key,
    lengths,
    name_or_path,
    networks,
    origins,
    pairs,
    path,
    setting,
    shared_folder,
    text,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one installation. `sources` says where each value came from."""

    host: str = setting(
        "127.0.0.1",
        "WHISPER_HOST",
        address,
        "Address to listen on. Any address that is not loopback needs WHISPER_API_KEY or WHISPER_ALLOW_ANONYMOUS.",
    )
    port: int = setting(5000, "WHISPER_PORT PORT", integer(1, 65535), "Port to listen on.")
    api_key: str = setting(
        "",
        "WHISPER_API_KEY",
        key,
        "Key that every request must carry (Authorization: Bearer KEY); browsers sign in with it. Empty: no key.",
        secret=True,
    )
    session_hours: int = setting(
        168,
        "WHISPER_SESSION_HOURS",
        integer(1, 24 * 365),
        "Hours a browser stays signed in. Another WHISPER_API_KEY ends all sessions at once.",
    )
    allow_anonymous: bool = setting(
        False,
        "WHISPER_ALLOW_ANONYMOUS",
        boolean,
        "Allow listening on a network address without a key. Everyone who reaches the port can then use the GPU.",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "WHISPER_ALLOWED_HOSTS",
        host_names,
        "Host names to answer for, comma-separated, besides loopback, WHISPER_HOST and this machine's name; *.example.org answers for every name below it. '*' answers for all and gives up the guard against DNS rebinding.",
    )
    connections_per_address: int = setting(
        2000,
        "WHISPER_CONNECTIONS_PER_ADDRESS",
        integer(0, 1_000_000),
        "Connections that one address (of IPv6: one /64) may have. One more ends the oldest that has shown no key; where all have, it is refused. 0: no limit.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "WHISPER_TRUSTED_PROXIES",
        networks,
        "Networks of reverse proxies of one's own (as 10.0.0.0/8, comma-separated), behind which everyone has the proxy's address: it has no limit of connections, and its X-Forwarded-Prefix and X-Forwarded-Proto count.",
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        "WHISPER_CORS_ORIGINS",
        origins,
        "Origins whose pages may use the API, comma-separated, as https://app.example or app://obsidian.md. They send the key in the header; cookies never count. '*' allows all that bring a key.",
    )
    key_queue_share: int = setting(
        50,
        "WHISPER_KEY_QUEUE_SHARE",
        integer(1, 100),
        "Percent of WHISPER_MAX_QUEUE that the waiting jobs of one named key may take. 100: one key may fill the queue for all.",
    )
    model: str = setting(
        "base",
        "WHISPER_MODEL",
        name_or_path,
        "Model used when a request names none: a catalogue name, a hub repository or a folder. Larger is slower and better.",
    )
    model_path: Path | None = setting(
        None,
        "WHISPER_MODEL_PATH",
        path,
        "A folder with a converted model, used in place of WHISPER_MODEL; or a folder of such folders, looked up by name.",
    )
    model_aliases: tuple[tuple[str, str], ...] = setting(
        (),
        "WHISPER_MODEL_ALIASES",
        pairs,
        "Names by which OpenAI's clients may ask for a model, as gpt-transcribe=large-v3, comma-separated. OpenAI's own names that are not listed mean WHISPER_MODEL.",
    )
    device: str = setting(
        "auto",
        "WHISPER_DEVICE DEVICE",
        choice("auto", "cuda", "cpu"),
        "cpu turns the GPU policy off; cuda wants the GPU by default and leaves the policy as it is; auto changes nothing.",
    )
    gpu_policy: str = setting(
        "preferred",
        "WHISPER_GPU_POLICY",
        choice("required", "preferred", "off"),
        "required: no answer without a proven GPU. preferred: the CPU may serve, and every answer says so. off: CPU.",
    )
    default_use_gpu: bool = setting(
        True,
        "WHISPER_DEFAULT_USE_GPU",
        boolean,
        "Whether a request that does not say use_gpu wants the GPU.",
    )
    gpu_device: str = setting(
        "0",
        "WHISPER_GPU_DEVICE",
        text,
        "Which GPU: an index in PCI order, or a UUID (GPU-… or MIG-…), which stays true when cards move.",
    )
    gpu_compute_type: str = setting(
        "auto",
        "WHISPER_GPU_COMPUTE_TYPE",
        choice(
            "auto", "float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16"
        ),
        "Number format on the GPU. auto: float16 where the card computes it well, else float32. int8_float16 halves the memory.",
    )
    strict_matrix: bool = setting(
        False,
        "WHISPER_STRICT_MATRIX",
        boolean,
        "Use the GPU only in a combination that the pinned table calls known good. Safe against surprises; a new driver is fine, a new CTranslate2 or card is refused until the table names it.",
    )
    cpu_compute_type: str = setting(
        "int8",
        "WHISPER_CPU_COMPUTE_TYPE",
        choice("int8", "int8_float32", "float32"),
        "Number format on the CPU. int8 is twice as fast as float32 and hardly less exact.",
    )
    compute_type: str = setting(
        "",
        "COMPUTE_TYPE",
        text,
        "Taken for the GPU's and the CPU's type where that device allows it and its own variable is not set. "
        "A value that neither allows is refused.",
    )
    vad_filter: bool = setting(
        True,
        "WHISPER_VAD",
        boolean,
        "Whether silence is cut out before transcribing, when a request does not say. Off invites invented text in silence.",
    )
    cudnn_extra_lib_dirs: tuple[Path, ...] = setting(
        (),
        "CUDNN_EXTRA_LIB_DIRS",
        folders,
        "More folders (colon-separated) to look for CUDA libraries in.",
    )
    ct2_use_cudnn: str = setting(
        "",
        "CT2_USE_CUDNN",
        text,
        "Accepted because people set it; CTranslate2 has no such variable, and diagnostics says so.",
    )
    data_dir: Path = setting(
        PROJECT / "data",
        "WHISPER_DATA_DIR DATA_DIR",
        path,
        "Folder for uploads, results, the job store and models. A relative one is below the folder that the program was started in.",
    )
    database_url: str = setting(
        "",
        "WHISPER_DATABASE_URL",
        database_url,
        "PostgreSQL 15 or newer that holds the jobs, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, in place of SQLite in WHISPER_DATA_DIR. With WHISPER_ROLE=all, one service has a database alone, and files stay in its WHISPER_DATA_DIR.",
        secret=True,
    )
    blob_url: str = setting(
        "",
        "WHISPER_BLOB_URL",
        shared_folder,
        "Folder that all nodes of a fleet mount, as file:///shared/transcriber: uploads and results are there. Only with WHISPER_ROLE=web or worker.",
    )
    role: str = setting(
        "all",
        "WHISPER_ROLE",
        choice("all", "web", "worker"),
        "all: one service that does everything. web: serves pages and API, and holds no engine. worker: works on jobs and opens no port (python -m transcriber worker). web and worker need WHISPER_DATABASE_URL and WHISPER_BLOB_URL.",
    )
    worker_queues: tuple[str, ...] = setting(
        ("short", "long"),
        "WHISPER_WORKER_QUEUES",
        lengths,
        "Which jobs a fleet's worker takes: short (up to WHISPER_SHORT_SECONDS by a first guess), long, or both.",
    )
    output_dir: Path | None = setting(
        None,
        "TRANSCRIPTION_OUTPUT_DIR",
        path,
        "Folder that also receives every finished transcript as NAME.JOBID.txt and .json.",
    )
    max_upload_bytes: int = setting(
        2 * 1024**3,
        "WHISPER_MAX_UPLOAD_BYTES",
        integer(1, 2**50),
        "Largest upload in bytes; more is refused while it is read.",
    )
    max_audio_seconds: int = setting(
        12 * 3600,
        "WHISPER_MAX_AUDIO_SECONDS",
        integer(1, 10**7),
        "Longest audio in seconds; more is refused while it is decoded.",
    )
    decode_timeout_seconds: int = setting(
        600,
        "WHISPER_DECODE_TIMEOUT_SECONDS",
        integer(1, 86400),
        "Time after which decoding one upload is given up.",
    )
    max_queue: int = setting(
        100,
        "WHISPER_MAX_QUEUE",
        integer(0, 10**6),
        "Jobs that may wait. A low limit refuses early instead of letting people wait for too long.",
    )
    max_running: int = setting(
        4,
        "WHISPER_MAX_RUNNING",
        integer(1, 256),
        "Jobs worked on at once. They share the engine's batches; more keeps a GPU fed and slows each job on a CPU.",
    )
    short_seconds: int = setting(
        60,
        "WHISPER_SHORT_SECONDS",
        integer(0, 3600),
        "Audio up to this length is a short job: it gets a slot of its own kind and does not wait behind long files. 0: no job is short.",
    )
    short_slots: int = setting(
        4,
        "WHISPER_SHORT_SLOTS",
        integer(0, 64),
        "Slots for short jobs, besides WHISPER_MAX_RUNNING. More answer more clips at once while long files run, and slow those down. 0: short jobs wait with the others.",
    )
    live_sessions: int = setting(
        4,
        "WHISPER_LIVE_SESSIONS",
        integer(0, 256),
        "Live captions at once. Each takes an engine's time while somebody speaks, and files get less of it. 0: none.",
    )
    live_minutes: int = setting(
        180,
        "WHISPER_LIVE_MINUTES",
        integer(1, 1440),
        "Minutes of sound after which a live session ends. An hour takes 115 MB of the data folder.",
    )
    job_timeout_seconds: int = setting(
        0,
        "WHISPER_JOB_TIMEOUT_SECONDS",
        integer(0, 10**7),
        "Time a running job may take before it fails with job_timeout; a restart begins it anew. 0: half an hour and one minute for each second of audio.",
    )
    keep_uploads_hours: int = setting(
        24,
        "WHISPER_KEEP_UPLOADS_HOURS",
        integer(0, 10**6),
        "Hours an upload is kept after its job has ended, so that the job can be retried. A cancelled job's upload goes at once. 0: until the next sweep, ten minutes at most.",
    )
    keep_unfinished_hours: int = setting(
        24,
        "WHISPER_KEEP_UNFINISHED_HOURS",
        integer(1, 10**6),
        "Hours an upload that was cut off rests before it is removed; until then it can go on where it stopped, also after a restart.",
    )
    keep_results_days: int = setting(
        30,
        "WHISPER_KEEP_RESULTS_DAYS",
        integer(0, 10**5),
        "Days that transcripts and the rows of ended jobs are kept. Files in TRANSCRIPTION_OUTPUT_DIR stay.",
    )
    disk_budget_bytes: int = setting(
        0,
        "WHISPER_DISK_BUDGET_BYTES",
        integer(0, 2**60),
        "Bytes that uploads and results may take together; the oldest of ended jobs go first. 0: as much as the disk has.",
    )
    disk_reserve_bytes: int = setting(
        512 * 1024**2,
        "WHISPER_DISK_RESERVE_BYTES",
        integer(0, 2**60),
        "Bytes of the disk that are left to everyone else: uploads that would eat into them are refused with 507, and "
        "decoded audio stops there.",
    )
    webhook_allow_cidr: tuple[str, ...] = setting(
        (),
        "WHISPER_WEBHOOK_ALLOW_CIDR",
        networks,
        "Networks of one's own (as 10.0.0.0/8, comma-separated) that webhooks may be sent to. Others that are not public are refused, so that nobody reaches your inside through this service.",
    )
    source_allow_cidr: tuple[str, ...] = setting(
        (),
        "WHISPER_SOURCE_ALLOW_CIDR",
        networks,
        "Networks of one's own (as 10.0.0.0/8, comma-separated) that files may be fetched from by `url`. Others that are not public are refused with `url_not_allowed`.",
    )
    source_timeout_seconds: int = setting(
        3600,
        "WHISPER_SOURCE_TIMEOUT_SECONDS",
        integer(1, 86400),
        "Time after which fetching one file by `url` is given up. WHISPER_MAX_UPLOAD_BYTES limits its size.",
    )
    watch_dir: Path | None = setting(
        None,
        "WHISPER_WATCH_DIR",
        path,
        "Folder whose media files, in subfolders too, are transcribed by themselves once they have stopped growing. Empty: none.",
    )
    watch_output_dir: Path | None = setting(
        None,
        "WHISPER_WATCH_OUTPUT_DIR",
        path,
        "Folder for their transcripts, in the same subfolders. Empty: beside the files, where players look for film.en.srt.",
    )
    watch_formats: tuple[str, ...] = setting(
        ("srt",),
        "WHISPER_WATCH_FORMATS",
        formats,
        "Formats of their transcripts, comma-separated: srt, vtt, ass, txt, tsv, json, verbose_json, docx.",
    )
    watch_poll_seconds: int = setting(
        5,
        "WHISPER_WATCH_POLL_SECONDS",
        integer(1, 86400),
        "How often the folder is looked at. Network shares report no changes, so it is always polled.",
    )
    watch_settle_seconds: int = setting(
        10,
        "WHISPER_WATCH_SETTLE_SECONDS",
        integer(0, 86400),
        "How long a file must have kept its size and time before it is taken. Longer for copies over a line that stalls.",
    )
    engine_start: str = setting(
        "boot",
        "WHISPER_ENGINE_START",
        choice("boot", "lazy"),
        "boot: load the default model at start. lazy: at the first request, which then waits for it. With WHISPER_GPU_POLICY=required the GPU's engine starts at boot in any case: that is its proof.",
    )
    engine_start_timeout_seconds: int = setting(
        300,
        "WHISPER_ENGINE_START_TIMEOUT_SECONDS",
        integer(1, 3600),
        "Time an engine has to become ready. The first start on a new GPU can compile kernels for a minute.",
    )
    selftest_interval_seconds: int = setting(
        300,
        "WHISPER_SELFTEST_INTERVAL_SECONDS",
        integer(0, 86400),
        "How often an engine that is up is tested anew, between two batches: numbers, words, device and speed. A test takes what one short clip takes, three times on a GPU, and never more than 2 % of the time. 0: only at the engine's start and on demand.",
    )
    pipeline_check_seconds: int = setting(
        30,
        "WHISPER_PIPELINE_CHECK_SECONDS",
        integer(0, 86400),
        "How often a short clip is sent the whole way of an upload (disk, decoder, VAD, engine, words): what `/health/ready` rests on. On a slow engine less often, so that it takes 5 % of its time at most. 0: only at the start, with each new engine, when jobs fail, and while something is wrong.",
    )
    selftest_timeout_seconds: int = setting(
        60,
        "WHISPER_SELFTEST_TIMEOUT_SECONDS",
        integer(1, 3600),
        "How long an engine without other work may be silent when it is to test itself; then it is ended and started again. An engine whose first test took long has ten times that.",
    )
    gpu_watch_seconds: int = setting(
        60,
        "WHISPER_GPU_WATCH_SECONDS",
        integer(1, 3600),
        "How often a GPU that can't serve is looked at again, in a child. Where there is no sign of a GPU, the wait grows to ten times this.",
    )
    engine_stall_seconds: int = setting(
        900,
        "WHISPER_ENGINE_STALL_SECONDS",
        integer(1, 86400),
        "Time an engine with work may say nothing before it is taken for stuck and ended. Longer than its slowest batch takes.",
    )
    max_engines: int = setting(
        3,
        "WHISPER_MAX_ENGINES",
        integer(1, 32),
        "Engine children (device and model) kept up at once, if memory allows; the one idle longest makes room.",
    )
    model_ttl: int = setting(
        0,
        "WHISPER_MODEL_TTL",
        integer(0, 10**7),
        "Seconds after which a model that nobody uses is unloaded: its process ends, and all its memory goes back. The next request loads it again, and waits for that. 0: models stay, and every request finds them warm.",
    )
    memory_budget_bytes: int = setting(
        0,
        "WHISPER_MEMORY_BUDGET_BYTES",
        integer(0, 2**50),
        "Bytes that the models on the CPU may take together; the one idle longest makes room for another. 0: four fifths of what the machine or its cgroup has. On a GPU it is 95 % of its memory.",
    )
    batch_size: int = setting(
        8,
        "WHISPER_BATCH_SIZE",
        integer(1, 128),
        "Windows that go through the model together. More is faster on a GPU and takes more memory. On a CPU never more "
        "than 4, as more gain nothing there.",
    )
    cpu_threads: int = setting(
        0, "WHISPER_CPU_THREADS", integer(0, 1024), "Threads of a CPU engine; 0: one for each core."
    )
    cpu_lanes: int = setting(
        0,
        "WHISPER_CPU_LANES",
        integer(0, 64),
        "Batches that a CPU engine computes side by side, which share its threads; 0: two, from 8 threads on four.",
    )
    speakers_device: str = setting(
        "cpu",
        "WHISPER_SPEAKERS_DEVICE",
        choice("cpu", "cuda"),
        "Where speakers are told apart. cuda needs onnxruntime-gpu; without a GPU it is an error, never the CPU.",
    )
    speakers_threads: int = setting(
        1,
        "WHISPER_SPEAKERS_THREADS",
        integer(1, 64),
        "Threads of the child that tells speakers apart; one is 30 to 50 times as fast as the recording.",
    )
    speakers_idle_seconds: int = setting(
        120,
        "WHISPER_SPEAKERS_IDLE_SECONDS",
        integer(1, 86_400),
        "After how many seconds without work that child is ended; the next job starts it in about a second.",
    )
    model_download: bool = setting(
        False,
        "WHISPER_MODEL_DOWNLOAD",
        boolean,
        "Whether a model that is not on this machine may be fetched from the hub.",
    )
    log_level: str = setting(
        "info",
        "WHISPER_LOG_LEVEL",
        choice("debug", "info", "warning", "error"),
        "Least level that is logged.",
    )
    engine_command: tuple[str, ...] = setting(
        (),
        "WHISPER_ENGINE_COMMAND",
        arguments,
        "Program started as engine child, in place of our own: for tests and for wrappers such as a profiler.",
    )
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def shared_dir(self) -> Path:
        """Where the files are that all nodes share: the folder of the fleet, or that of the one service."""
        return Path(self.blob_url.removeprefix("file://")) if self.blob_url else self.data_dir

    def public(self) -> list[dict[str, str]]:
        """Name, value and source of every setting, secrets hidden. For diagnostics."""
        rows = []
        for row in rows_of_settings():
            value = getattr(self, row.name)
            if row.secret:
                shown = "(set)" if value else ""
            elif isinstance(value, tuple):
                shown = ",".join("=".join(part) if isinstance(part, tuple) else str(part) for part in value)
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
