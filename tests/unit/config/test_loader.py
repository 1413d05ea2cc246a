"""Settings: names, precedence, errors that name the variable, and a page that is current."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from transcriber.config import loader
from transcriber.domain.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def test_defaults_want_the_gpu_and_allow_the_cpu() -> None:
    settings = loader.load({})

    assert (settings.gpu_policy, settings.default_use_gpu, settings.host, settings.port) == (
        "preferred",
        True,
        "127.0.0.1",
        5000,
    )


def test_prefixed_name_beats_the_bare_one() -> None:
    settings = loader.load({"PORT": "80", "WHISPER_PORT": "8080"})

    assert settings.port == 8080
    assert settings.sources["port"] == "WHISPER_PORT"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WHISPER_PORT", "none"),
        ("WHISPER_PORT", "70000"),
        ("WHISPER_GPU_POLICY", "maybe"),
        ("WHISPER_VAD", "perhaps"),
        ("WHISPER_CPU_COMPUTE_TYPE", "float16"),
        ("COMPUTE_TYPE", "nonsense"),
        ("WHISPER_MAX_UPLOAD_BYTES", "0"),
        ("WHISPER_SHORT_SECONDS", "-1"),
        ("WHISPER_JOB_TIMEOUT_SECONDS", "1h"),
        ("WHISPER_WEBHOOK_ALLOW_CIDR", "10.0.0.0/33"),
        ("WHISPER_WEBHOOK_ALLOW_CIDR", "192.168.1.7/24"),
        ("WHISPER_DATA_DIR", "~nobody-of-this-name/data"),
        ("WHISPER_MODEL_PATH", "~nobody-of-this-name/model"),
        ("WHISPER_HOST", "x" * 64 + ".example"),
        ("WHISPER_CORS_ORIGINS", "https://*.example.org"),
        ("WHISPER_CORS_ORIGINS", "https://bücher.example"),
    ],
)
def test_wrong_value_names_the_variable_and_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load({name: value})

    assert name in caught.value.message
    assert repr(value) in caught.value.message
    assert "allowed" in caught.value.message


def test_long_refused_value_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load({"WHISPER_PORT": "9" * 5000})

    assert len(caught.value.message) < 600
    assert "(5000 characters)" in caught.value.message


def test_origin_is_taken_as_browsers_send_it() -> None:
    settings = loader.load(
        {"WHISPER_CORS_ORIGINS": "https://a.example:443,HTTP://b.example:80,https://c.example:80,app://d:443"}
    )

    assert settings.cors_origins == (
        "https://a.example",
        "HTTP://b.example",
        "https://c.example:80",
        "app://d:443",
    )


@pytest.mark.parametrize(
    "name",
    [
        "WHISPER_WATCH_DIR",
        "WHISPER_MODEL_PATH",
        "TRANSCRIPTION_OUTPUT_DIR",
        "WHISPER_DATA_DIR",
        "WHISPER_MODEL",
    ],
)
@pytest.mark.parametrize("value", ["/" + "x" * 300, "/x" * 3000, "/nul\0byte"])
def test_path_that_no_disk_takes_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load({name: value})

    assert caught.value.param == name
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"WHISPER_WATCH_OUTPUT_DIR": "/srv/texts"}, "WHISPER_WATCH_OUTPUT_DIR"),
        ({"WHISPER_WATCH_FORMATS": "srt"}, "WHISPER_WATCH_FORMATS"),
        (
            {
                "WHISPER_WATCH_DIR": "/srv/media",
                "WHISPER_ROLE": "web",
                "WHISPER_DATABASE_URL": "postgresql://u:p@h/d",
                "WHISPER_BLOB_URL": "file:///srv/shared",
            },
            "WHISPER_WATCH_DIR",
        ),
    ],
)
def test_watched_folder_that_nobody_would_watch_is_refused(given: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load(given)

    assert caught.value.param == named
    assert "unset" in caught.value.fix.lower()


def test_networks_are_a_list() -> None:
    settings = loader.load({"WHISPER_WEBHOOK_ALLOW_CIDR": "10.0.0.0/8, fd00::/8"})

    assert settings.webhook_allow_cidr == ("10.0.0.0/8", "fd00::/8")


def test_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load({"WHISPER_MODLE": "base"})

    assert caught.value.code == "unknown_setting"
    assert "WHISPER_MODLE" in caught.value.message


@pytest.mark.parametrize("name", ["WHISPER_DEVICE", "DEVICE"])
def test_device_cpu_turns_the_policy_off(name: str) -> None:
    settings = loader.load({name: "cpu"})

    assert settings.gpu_policy == "off"
    assert settings.sources["gpu_policy"] == f"{name}=cpu"


def test_device_cuda_leaves_the_policy_as_it_is() -> None:
    settings = loader.load({"WHISPER_DEVICE": "cuda", "WHISPER_GPU_POLICY": "required"})

    assert (settings.gpu_policy, settings.default_use_gpu) == ("required", True)


def test_bare_compute_type_goes_where_it_is_possible() -> None:
    settings = loader.load({"COMPUTE_TYPE": "float16"})

    assert (settings.gpu_compute_type, settings.cpu_compute_type) == ("float16", "int8")


def test_secret_is_not_shown() -> None:
    settings = loader.load({"WHISPER_API_KEY": "open sesame"})

    assert "open sesame" not in repr(settings.public())


def test_network_address_needs_a_key() -> None:
    with pytest.raises(ConfigError) as caught:
        loader.check_listening(loader.load({"WHISPER_HOST": "0.0.0.0"}), has_key=False)

    assert caught.value.code == "key_required"


@pytest.mark.parametrize("extra", [{"WHISPER_API_KEY": "k"}, {"WHISPER_ALLOW_ANONYMOUS": "true"}])
def test_network_address_with_a_key_or_by_explicit_setting(extra: dict[str, str]) -> None:
    settings = loader.load({"WHISPER_HOST": "0.0.0.0"} | extra)
    loader.check_listening(settings, has_key=bool(settings.api_key))


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.5", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("127.evil.example", False),
        ("127.0.0.1.nip.io", False),
        ("localhost.evil.example", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_loopback_is_an_address_and_no_name_but_localhost(host: str, is_loopback: bool) -> None:
    assert loader.is_loopback(host) is is_loopback


def test_name_that_looks_like_loopback_needs_a_key() -> None:
    with pytest.raises(ConfigError):
        loader.check_listening(loader.load({"WHISPER_HOST": "127.evil.example"}), has_key=False)


@pytest.mark.parametrize("key", ["   ", "\t", "secret\n", "se\x00cret", "se\u200bcret"])
def test_key_that_is_blank_or_has_unseen_characters_is_refused_unshown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load({"WHISPER_API_KEY": key})

    assert caught.value.param == "WHISPER_API_KEY"
    assert "cret" not in caught.value.message


def test_settings_page_is_current() -> None:
    assert (ROOT / "docs/settings.md").read_text() == loader.settings_markdown(loader.rows_of_settings()), (
        "run scripts/docs"
    )


# What operators' files and platforms do to values


@pytest.mark.parametrize(
    ("name", "given", "field", "value"),
    [
        ("WHISPER_PORT", " 8080 ", "port", 8080),
        ("WHISPER_PORT", '"8080"', "port", 8080),
        ("WHISPER_PORT", "' 8080'", "port", 8080),
        ("WHISPER_PORT", '""', "port", 5000),
        ("WHISPER_PORT", "  ", "port", 5000),
        ("WHISPER_MODEL", '"tiny.en"', "model", "tiny.en"),
        ("WHISPER_VAD", "'false'", "vad_filter", False),
        ("WHISPER_HOST", "[::1]", "host", "::1"),
        ("WHISPER_HOST", "::", "host", "::"),
        ("WHISPER_HOST", "fe80::1%eth0", "host", "fe80::1%eth0"),
        ("WHISPER_HOST", "localhost", "host", "localhost"),
        ("WHISPER_ENGINE_COMMAND", '"a b" c', "engine_command", ('"a', 'b"', "c")),
        (
            "WHISPER_ALLOWED_HOSTS",
            "https://transcribe.example.org",
            "allowed_hosts",
            ("transcribe.example.org",),
        ),
        ("WHISPER_ALLOWED_HOSTS", "HTTPS://a.example.org:5443/whisper/", "allowed_hosts", ("a.example.org",)),
        (
            "WHISPER_ALLOWED_HOSTS",
            "a.example.org/, b.example.org.",
            "allowed_hosts",
            ("a.example.org", "b.example.org"),
        ),
        (
            "WHISPER_ALLOWED_HOSTS",
            "a.example.org b.example.org",
            "allowed_hosts",
            ("a.example.org", "b.example.org"),
        ),
        ("WHISPER_ALLOWED_HOSTS", '"a.example.org","b"', "allowed_hosts", ("a.example.org", "b")),
        (
            "WHISPER_ALLOWED_HOSTS",
            "*.example.org,[fd00::1]:5000,10.0.0.7",
            "allowed_hosts",
            ("*.example.org", "fd00::1", "10.0.0.7"),
        ),
        ("WHISPER_ALLOWED_HOSTS", "Bücher.example", "allowed_hosts", ("xn--bcher-kva.example",)),
        ("WHISPER_ALLOWED_HOSTS", "*", "allowed_hosts", ("*",)),
    ],
)
def test_value_is_understood_however_it_is_wrapped(name: str, given: str, field: str, value: object) -> None:
    assert getattr(loader.load({name: given}), field) == value


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("WHISPER_HOST", "http://0.0.0.0"),
        ("WHISPER_HOST", "localhost:8080"),
        ("WHISPER_HOST", "[::1]:8080"),
        ("WHISPER_HOST", "*"),
        ("WHISPER_HOST", "[localhost]"),
        ("WHISPER_ALLOWED_HOSTS", ".example.org"),
        ("WHISPER_ALLOWED_HOSTS", "a.*.org"),
        ("WHISPER_ALLOWED_HOSTS", "*."),
        ("WHISPER_ALLOWED_HOSTS", "user@example.org"),
        ("WHISPER_ALLOWED_HOSTS", "https://"),
        ("WHISPER_API_KEY", '"a-key-in-quotes-that-is-long"'),
        ("WHISPER_API_KEY", " a-key-with-a-space-before-it"),
    ],
)
def test_value_that_would_match_nothing_is_refused_by_name(name: str, given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load({name: given})

    assert caught.value.param == name
    assert name in caught.value.message and "allowed" in caught.value.message
    assert "a-key" not in caught.value.message + caught.value.fix


#: What Kubernetes sets in a pod beside a Service whisper on port 80, and one whisper-web with a named port.
SERVICE_LINKS = {
    "WHISPER_SERVICE_HOST": "10.96.0.7",
    "WHISPER_SERVICE_PORT": "80",
    "WHISPER_SERVICE_PORT_HTTP": "80",
    "WHISPER_PORT": "tcp://10.96.0.7:80",
    "WHISPER_PORT_80_TCP": "tcp://10.96.0.7:80",
    "WHISPER_PORT_80_TCP_PROTO": "tcp",
    "WHISPER_PORT_80_TCP_PORT": "80",
    "WHISPER_PORT_80_TCP_ADDR": "10.96.0.7",
    "WHISPER_WEB_SERVICE_HOST": "10.96.0.8",
    "WHISPER_WEB_SERVICE_PORT": "80",
    "WHISPER_WEB_PORT": "tcp://10.96.0.8:80",
    "WHISPER_WEB_PORT_80_TCP": "tcp://10.96.0.8:80",
}


def test_variables_of_kubernetes_services_are_passed_over() -> None:
    settings = loader.load(SERVICE_LINKS | {"PORT": "8080", "WHISPER_MODEL": "tiny.en"})

    assert (settings.port, settings.model) == (8080, "tiny.en")
    assert loader.load(SERVICE_LINKS).port == 5000
    assert loader.load({"WHISPER_PORT": "tcp://10.96.0.7:80"}).port == 5000


@pytest.mark.parametrize("name", ["WHISPER_PORTS", "WHISPER_SERVICE", "WHISPER_WEB_PORT", "WHISPER_PORT_80"])
def test_what_only_looks_like_one_is_still_an_unknown_setting(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        loader.load({name: "80"})


def test_relative_folders_are_below_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        "DATA_DIR": "./mydata",
        "TRANSCRIPTION_OUTPUT_DIR": "out",
        "WHISPER_MODEL_PATH": "models",
        "WHISPER_MODEL": "./mine",
        "CUDNN_EXTRA_LIB_DIRS": "a:/b",
        "WHISPER_PORT": "8080",
    }

    settings = loader.load(given)

    assert (settings.data_dir, settings.output_dir) == (tmp_path / "mydata", tmp_path / "out")
    assert loader.absolute_paths(settings) == {
        "DATA_DIR": f"{tmp_path}/mydata",
        "TRANSCRIPTION_OUTPUT_DIR": f"{tmp_path}/out",
        "WHISPER_MODEL_PATH": f"{tmp_path}/models",
        "WHISPER_MODEL": f"{tmp_path}/mine",
        "CUDNN_EXTRA_LIB_DIRS": f"{tmp_path}/a:/b",
    }
    monkeypatch.chdir("/")
    assert loader.load(given | loader.absolute_paths(settings)) == settings


def test_jobs_in_the_place_where_an_earlier_release_kept_them_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = Path(tempfile.mkdtemp(prefix="forgotten-", dir=ROOT / "flask-app"))
    try:
        assert loader.load({"DATA_DIR": f"./{before.name}"}).data_dir == tmp_path / before.name
        (before / "jobs.sqlite3").touch()

        with pytest.raises(ConfigError) as caught:
            loader.load({"DATA_DIR": f"./{before.name}"})

        assert caught.value.code == "data_dir_ambiguous"
        assert str(before) in caught.value.message and str(tmp_path / before.name) in caught.value.message
        assert loader.load({"DATA_DIR": str(before)}).data_dir == before
    finally:
        shutil.rmtree(before)
