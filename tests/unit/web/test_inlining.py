"""Modules that a page holds itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from transcriber.web.inlining import Inlined
from uploading import BROWSER


def write(folder: Path, **modules: str) -> Inlined:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return Inlined(folder)


def test_modules_are_joined_in_the_order_of_their_needs(tmp_path: Path) -> None:
    """Each once, with its own names, without its comments."""
    inlined = write(
        tmp_path,
        a='/** What it does. */\nimport { one } from "./b.js";\nimport { two } from "./c.js";\n// Why.\none(two);\n',
        b='import { two } from "./c.js";\nconst own = 1;\nexport async function one() { return own + two; }\n',
        c="export const two = /** @type {any} */ (2);\n",
    )

    assert inlined.script("a.js") == (
        "const module_c = (() => {\nconst two = /** @type {any} */ (2);\nreturn { two };\n})();\n"
        "const module_b = (() => {\nconst { two } = module_c;\nconst own = 1;\n"
        "async function one() { return own + two; }\nreturn { one };\n})();\n"
        "const module_a = (() => {\nconst { one } = module_b;\nconst { two } = module_c;\none(two);\nreturn {  };\n})();\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        'import * as b from "./b.js";\n',
        "export default 1;\n",
        'await import("./b.js");\n',
        'const end = "</script>";\n',
        'const end = "<!-- <script";\n',
    ],
)
def test_what_can_not_be_joined_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="a.js"):
        write(tmp_path, a=text).script("a.js")


def test_upload_page_holds_its_scripts(client: FlaskClient) -> None:
    answer = client.get("/", headers={"Accept": BROWSER})

    [(nonce, script)] = re.findall(r'(?s)<script type="module" nonce="([^"]+)">(.*?)</script>', answer.text)
    assert f"'nonce-{nonce}'" in answer.headers["Content-Security-Policy"]
    assert script.count("const module_") == len(set(re.findall(r"const module_(\w+)", script))) == 6
    assert "/static/upload.js" not in answer.text
