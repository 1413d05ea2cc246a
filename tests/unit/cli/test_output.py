"""Where transcripts are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from transcriber.cli.output import Output, stems_of
from transcriber.domain.errors import TranscriberError


def test_each_file_has_a_name_of_its_own() -> None:
    a, b, c, d = Path("one/talk.mp3"), Path("one/talk.wav"), Path("two/talk.wav"), Path("other.flac")

    assert stems_of([a, b, c, d]) == {a: "talk.mp3", b: "talk.wav", c: "talk.wav-2", d: "other"}


def test_formats_are_files_beside_one_another(tmp_path: Path) -> None:
    file, folder = Path("talk.mp3"), tmp_path / "new" / "folder"
    output = Output.plan([file], ["srt", "json", "verbose_json", "srt"], folder)

    output.write(file, {ending: ending for ending in output.formats})

    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "talk.srt": "srt",
        "talk.json": "json",
        "talk.verbose.json": "verbose_json",
    }


def test_text_on_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = Path("one.mp3"), Path("two.mp3")
    output = Output.plan([one, two], [], None)

    output.write(one, {"txt": "first\n"})
    output.write(two, {"txt": "second\n"})

    assert output.formats == ("txt",)
    assert capsys.readouterr().out == "first\nsecond\n"


@pytest.mark.parametrize(("files", "formats"), [(1, ["txt", "srt"]), (2, ["srt"]), (2, ["vtt"])])
def test_what_standard_output_would_mix_up_is_refused(files: int, formats: list[str]) -> None:
    with pytest.raises(TranscriberError, match="Standard output") as caught:
        Output.plan([Path(f"{n}.mp3") for n in range(files)], formats, None)

    assert "--output-dir" in caught.value.fix


def test_folder_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(TranscriberError) as caught:
        Output.plan([Path("a.mp3")], [], tmp_path / "file")

    assert caught.value.code == "output_not_writable"


def test_name_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    file = Path("a.mp3")
    output = Output.plan([file], [], tmp_path)
    (tmp_path / "a.txt").mkdir()

    with pytest.raises(TranscriberError):
        output.write(file, {"txt": "text"})

    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
