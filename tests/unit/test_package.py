"""The package's shape: few files a folder, names that say something, and strings that name real modules."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flask-app" / "transcriber"
#: Names of files, systemd's unit among them, that look like modules.
FILES = tuple(
    f"transcriber.{name}"
    for name in ("service", "socket", "env", "key", "pth", "old", "example", "transcriber")
)
_DOTTED = re.compile(r"(?<![\w/.-])transcriber(?:\.[A-Za-z_]\w*)+")


#: These import programs that are measured beside ours, each installed in a place of its own.
OTHERS = (ROOT / "tests" / "clients" / "other", ROOT / "tests" / "bench" / "speakers_others.py")


def packages() -> list[Path]:
    return sorted({path.parent for path in PACKAGE.rglob("*.py")})


def test_top_level_has_at_most_six_modules() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 6


@pytest.mark.parametrize("folder", packages(), ids=lambda folder: str(folder.relative_to(PACKAGE)))
def test_package_has_at_most_25_files_and_a_name_that_says_something(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 25
    assert folder.name not in {"core", "common", "utils", "helpers", "misc"}


def test_every_package_says_what_it_is() -> None:
    silent = [
        str(folder.relative_to(PACKAGE))
        for folder in packages()
        if "migrations" not in folder.parts
        and not (folder / "__init__.py").read_text().lstrip().startswith('"""')
    ]

    assert silent == []


def test_contract_of_the_domain_knows_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {re.split(r"[=<>\[ ]", line)[0].replace("-", "_") for line in project["project"]["dependencies"]}
    contracts = project["tool"]["importlinter"]["contracts"]
    [domain] = [contract for contract in contracts if contract["name"].startswith("Domain")]

    assert names - set(domain["forbidden_modules"]) == set()


def test_domain_imports_the_standard_library_only() -> None:
    program = (
        "import pkgutil, importlib, sys, transcriber.domain as d\n"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(d.__path__, 'transcriber.domain.')]\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "foreign = tops - set(sys.stdlib_module_names) - {'transcriber', '__main__', 'sitecustomize'}\n"
        "print(*sorted(name for name in foreign if not name.startswith('_')))"
    )

    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == []


def test_every_string_that_looks_like_a_module_is_one() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked()
        for name in dotted_names(path)
        if not name.startswith(FILES) and not is_real(name)
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("name", "real"),
    [
        ("transcriber.engine.pool", True),
        ("transcriber.engine.pool.ChildEnginePool", True),
        ("transcriber.engine", True),
        ("transcriber.engine.batcher", False),
        ("transcriber.jobs.spool", False),
    ],
)
def test_real_modules_are_told_from_old_ones(name: str, real: bool) -> None:
    assert is_real(name) is real


def tracked_names() -> list[str]:
    """What git has; in a copy without a repository (scripts/test-pythons), every file but what was installed or made."""
    if (ROOT / ".git").exists():
        done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()
    made = {".venv", ".cache", "data", "node_modules"}
    files = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [str(path) for path in files if path.parts[0] not in made and "__pycache__" not in path.parts]


def tracked() -> list[Path]:
    """Every text file of the project but the history and the lists of packages."""
    own = Path(__file__).name
    suffixes = {".py", ".md", ".toml", ".html", ".js", ".sh", ".service", ".example", ""}
    return [
        ROOT / name
        for name in tracked_names()
        if Path(name).suffix in suffixes
        and not name.startswith(("CHANGELOG", "docs/adr/", "static/vendor", "tests/browser/vendor"))
        and Path(name).name not in {own, "LICENSE"}
        and (ROOT / name).is_file()
    ]


def dotted_names(path: Path) -> Iterator[str]:
    """Modules named in a file; of a Python program, only those in strings and comments."""
    text = path.read_text(errors="replace")
    if path.suffix == ".py" or text.startswith("#!/usr/bin/env python3"):
        kinds = {"STRING", "COMMENT", "FSTRING_MIDDLE"}
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        text = "\n".join(token.string for token in tokens if tokenize.tok_name[token.type] in kinds)
    yield from _DOTTED.findall(text)


def is_real(name: str) -> bool:
    """Whether it is a module, or something in one."""
    try:
        if importlib.util.find_spec(name) is not None:
            return True
    except ModuleNotFoundError:
        pass
    parent, _, last = name.rpartition(".")
    try:
        spec = importlib.util.find_spec(parent)
    except ModuleNotFoundError:
        return False
    if spec is None or spec.origin is None:
        return False
    defined = rf"^(?:class|def) {last}\b|^{last}\b[^.(]*=|^    {last} as {last}$|import [^\n]*\b{last}\b"
    return re.search(defined, Path(spec.origin).read_text(), re.MULTILINE) is not None


def imports(path: Path) -> Iterator[str]:
    """The top-level names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_modules_that_tests_and_their_programs_import_are_there() -> None:
    files = [
        path for path in (ROOT / "tests").rglob("*.py") if not any(path.is_relative_to(o) for o in OTHERS)
    ]
    ours = {path.stem for path in files} | {path.parent.name for path in files}

    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in imports(path)
        if name not in ours and importlib.util.find_spec(name) is None
    }

    assert missing == set()
