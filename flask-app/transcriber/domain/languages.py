"""The languages that Whisper knows: code and English name, and how a caller may spell them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType

from .errors import InvalidParameterError

#: Code to name, in Whisper's own order.
LANGUAGES = MappingProxyType(
    {
        "en": "english",
        "zh": "chinese",
        "de": "german",
        "es": "spanish",
        "ru": "russian",
        "ko": "korean",
        "fr": "french",
        "ja": "japanese",
        "pt": "portuguese",
        "tr": "turkish",
        "pl": "polish",
        "ca": "catalan",
        "nl": "dutch",
        "ar": "arabic",
        "sv": "swedish",
        "it": "italian",
        "id": "indonesian",
        "hi": "hindi",
        "fi": "finnish",
        "vi": "vietnamese",
        "he": "hebrew",
        "uk": "ukrainian",
        "el": "greek",
        "ms": "malay",
        "cs": "czech",
        "ro": "romanian",
        "da": "danish",
        "hu": "hungarian",
        "ta": "tamil",
        "no": "norwegian",
        "th": "thai",
        "ur": "urdu",
        "hr": "croatian",
        "bg": "bulgarian",
        "lt": "lithuanian",
        "la": "latin",
        "mi": "maori",
        "ml": "malayalam",
        "cy": "welsh",
        "sk": "slovak",
        "te": "telugu",
        "fa": "persian",
        "lv": "latvian",
        "bn": "bengali",
        "sr": "serbian",
        "az": "azerbaijani",
        "sl": "slovenian",
        "kn": "kannada",
        "et": "estonian",
        "mk": "macedonian",
        "br": "breton",
        "eu": "basque",
        "is": "icelandic",
        "hy": "armenian",
        "ne": "nepali",
        "mn": "mongolian",
        "bs": "bosnian",
        "kk": "kazakh",
        "sq": "albanian",
        "sw": "swahili",
        "gl": "galician",
        "mr": "marathi",
        "pa": "punjabi",
        "si": "sinhala",
        "km": "khmer",
        "sn": "shona",
        "yo": "yoruba",
        "so": "somali",
        "af": "afrikaans",
        "oc": "occitan",
        "ka": "georgian",
        "be": "belarusian",
        "tg": "tajik",
        "sd": "sindhi",
        "gu": "gujarati",
        "am": "amharic",
        "yi": "yiddish",
        "lo": "lao",
        "uz": "uzbek",
        "fo": "faroese",
        "ht": "haitian creole",
        "ps": "pashto",
        "tk": "turkmen",
        "nn": "nynorsk",
        "mt": "maltese",
        "sa": "sanskrit",
        "lb": "luxembourgish",
        "my": "myanmar",
        "bo": "tibetan",
        "tl": "tagalog",
        "mg": "malagasy",
        "as": "assamese",
        "tt": "tatar",
        "haw": "hawaiian",
        "ln": "lingala",
        "ha": "hausa",
        "ba": "bashkir",
        "jw": "javanese",
        "su": "sundanese",
        "yue": "cantonese",
    }
)

#: Other spellings: Whisper's own list, and codes that browsers and operating systems use for the same language.
ALIASES = MappingProxyType(
    {
        "burmese": "my",
        "valencian": "ca",
        "flemish": "nl",
        "haitian": "ht",
        "letzeburgesch": "lb",
        "pushto": "ps",
        "panjabi": "pa",
        "moldavian": "ro",
        "moldovan": "ro",
        "sinhalese": "si",
        "castilian": "es",
        "mandarin": "zh",
        "jv": "jw",
        "nb": "no",
        "cmn": "zh",
        "fil": "tl",
        "iw": "he",
    }
)

#: What a caller sends to have the language detected.
AUTO = "auto"


#: A language tag with more in it than its language: pt-BR, zh-Hant-TW, en_US.
_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{1,8})+")


def normalise_language(text: str | None) -> str | None:
    """The code for a code or an English name in any case; None (detect) for auto, empty or None.

    Of a tag such as pt-BR the language counts: Whisper knows no regions.

    Raises InvalidParameterError.
    """
    asked = (text or "").strip().lower()
    if asked in ("", AUTO):
        return None
    tag = _TAG.fullmatch(asked)
    if tag is not None:
        asked = tag[1]
    if asked in LANGUAGES:
        return asked
    by_name = {name: code for code, name in LANGUAGES.items()} | ALIASES
    if asked not in by_name:
        raise InvalidParameterError(
            "language",
            text,
            "auto, " + ", ".join(sorted(LANGUAGES)) + ", or a language's English name",
            fix="Send a code such as 'en', a name such as 'english', or leave language out to have it detected.",
        )
    return by_name[asked]


def normalise_languages(names: Iterable[str]) -> tuple[str, ...]:
    """The codes for codes or names. Raises InvalidParameterError."""
    given = tuple(names)
    try:
        found = [normalise_language(name) for name in given]
    except InvalidParameterError as error:
        raise InvalidParameterError(
            "languages",
            ",".join(given),
            "language codes or English names with commas between them",
            fix="Send codes such as 'en,de', or leave languages out to choose from all.",
        ) from error
    return tuple(dict.fromkeys(code for code in found if code is not None))


def language_name(code: str) -> str:
    """The English name in lower case; a code that is not in the table names itself."""
    return LANGUAGES.get(code, code)
