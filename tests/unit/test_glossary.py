"""Every word that the code's names are made of is in the glossary, or plain English."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flask-app" / "transcriber"
GLOSSARY = ROOT / "docs" / "glossary.md"
#: Words that need no explanation here: plain English, everyday computing, and names of formats and libraries.
PLAIN = ROOT / "tests" / "data" / "plain_words.txt"


def test_every_noun_of_the_code_is_known() -> None:
    known = glossary() | plain()

    unknown = {word: name for word, name in words_of_names() if not is_known(word, known)}

    assert unknown == {}, (
        "Explain the word in docs/glossary.md, use the one that is there, or add it to plain_words.txt."
    )


def test_plain_words_are_used_and_explained_nowhere_else() -> None:
    used = {word for word, _ in words_of_names()}

    assert sorted(plain() - used) == []
    assert sorted(plain() & glossary()) == []


def test_one_class_name_has_one_meaning() -> None:
    counts = Counter(name for _, name in classes())

    assert [name for name, count in counts.items() if count > 1] == []


def test_word_that_nobody_explained_is_noticed() -> None:
    assert is_known("segments", {"segment"})
    assert not is_known("leash", glossary() | plain())


def is_known(word: str, known: set[str]) -> bool:
    """Also in the other number."""
    singulars = {word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)}
    return bool(({word, f"{word}s"} | singulars) & known)


def glossary() -> set[str]:
    """The words of the first column."""
    rows = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")]
    return {word.lower() for row in rows for word in re.findall(r"[A-Za-z]+", row.split("|")[1])}


def plain() -> set[str]:
    return set(PLAIN.read_text().split())


def modules() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def classes() -> Iterator[tuple[Path, str]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield path, node.name


def words_of_names() -> Iterator[tuple[str, str]]:
    """Each word of the names of modules, packages and classes, and where it is from."""
    for path in modules():
        relative = str(path.relative_to(PACKAGE))
        yield from (
            (word, relative) for word in split(relative.removesuffix("__init__.py").removesuffix(".py"))
        )
    for path, name in classes():
        yield from ((word, f"{path.relative_to(PACKAGE)}: {name}") for word in split(name))


def split(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
