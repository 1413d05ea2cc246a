"""Settings: names, precedence, errors that name the variable, and a page that is current."""

from __future__ import annotations

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
        ("WHISPER_MAX_UPLOAD_BYTES", "0"),
        ("WHISPER_SHORT_SECONDS", "-1"),
        ("WHISPER_JOB_TIMEOUT_SECONDS", "1h"),
        ("WHISPER_WEBHOOK_ALLOW_CIDR", "10.0.0.0/33"),
        ("WHISPER_WEBHOOK_ALLOW_CIDR", "192.168.1.7/24"),
    ],
)
def test_wrong_value_names_the_variable_and_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load({name: value})

    assert name in caught.value.message
    assert repr(value) in caught.value.message
    assert "allowed" in caught.value.message


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
