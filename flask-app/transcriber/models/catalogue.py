"""The models known by name: where the hub keeps each, at which revision, and the SHA-256 of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueModel:
    """One known model. `sha256` holds every file whose hash is pinned, model.bin always."""

    name: str
    repository: str
    revision: str
    model_bytes: int
    sha256: Mapping[str, str]
    can_translate: bool

    @property
    def is_english_only(self) -> bool:
        """Whether it knows no language but English."""
        return self.name.endswith(".en")


def _row(
    name: str,
    repository: str,
    revision: str,
    model_bytes: int,
    sha256: Mapping[str, str],
    *,
    can_translate: bool = True,
) -> CatalogueModel:
    return CatalogueModel(
        name=name,
        repository=repository,
        revision=revision,
        model_bytes=model_bytes,
        sha256=MappingProxyType(dict(sha256)),
        can_translate=can_translate,
    )


#: By size. model.bin's hashes are those that several independent projects pin.
CATALOGUE: tuple[CatalogueModel, ...] = (
    _row(
        "tiny",
        "Systran/faster-whisper-tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        75_538_270,
        {"model.bin": "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1"},
    ),
    _row(
        "tiny.en",
        "Systran/faster-whisper-tiny.en",
        "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        75_537_502,
        {
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
        can_translate=False,
    ),
    _row(
        "base",
        "Systran/faster-whisper-base",
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        145_217_532,
        {
            "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        },
    ),
    _row(
        "small",
        "Systran/faster-whisper-small",
        "536b0662742c02347bc0e980a01041f333bce120",
        483_546_902,
        {"model.bin": "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671"},
    ),
    _row(
        "medium",
        "Systran/faster-whisper-medium",
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        1_527_906_378,
        {"model.bin": "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae"},
    ),
    _row(
        "large-v3-turbo",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        1_617_884_929,
        {"model.bin": "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da"},
        can_translate=False,
    ),
    _row(
        "large-v2",
        "Systran/faster-whisper-large-v2",
        "f0fe81560cb8b68660e564f55dd99207059c092e",
        3_086_912_962,
        {"model.bin": "bf2a9746382e1aa7ffff6b3a0d137ed9edbd9670c3b87e5d35f5e85e70d0333a"},
    ),
    _row(
        "large-v3",
        "Systran/faster-whisper-large-v3",
        "edaa852ec7e145841d8ffdb056a99866b5f0a478",
        3_087_284_237,
        {"model.bin": "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1"},
    ),
)

#: Other names people use for a catalogue model. OpenAI's `whisper-1` is not here: it means the default model.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "turbo": "large-v3-turbo",
        "large": "large-v3",
        **{row.repository: row.name for row in CATALOGUE},
    }
)


def canonical_name(name: str) -> str:
    """The catalogue's name for this model; any other name comes back as it is."""
    return ALIASES.get(name, name)


def find_model(name: str, catalogue: tuple[CatalogueModel, ...] = CATALOGUE) -> CatalogueModel | None:
    """The catalogue row of a name, alias or repository; None when it is not a known model."""
    wanted = canonical_name(name)
    return next((row for row in catalogue if wanted in (row.name, row.repository)), None)
