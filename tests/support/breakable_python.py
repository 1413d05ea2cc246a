"""A Python like ours whose PyAV a test takes away, or makes refuse files, while a service runs on it."""

from __future__ import annotations

import shutil
import sysconfig
import venv
from pathlib import Path

#: Decodes WAV, which the decode server tests itself with, and refuses all else, as an argument that PyAV does not know.
_REFUSING = """
__path__ = [{real!r}]
exec(compile(open({real!r} + "/__init__.py").read(), {real!r} + "/__init__.py", "exec"))
_open_media = open

def open(file, *arguments, **options):
    begin = file.read(4)
    file.seek(0)
    if begin != b"RIFF":
        raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")
    return _open_media(file, *arguments, **options)
"""


class BreakablePython:
    """An environment of its own under `folder`, over the packages of this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        ours = sysconfig.get_paths()["purelib"]
        site = Path(
            sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}, scheme="venv")
        )
        (site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        self.executable = str(folder / "bin" / "python")
        self._real = Path(ours, "av")
        self._shadow = site / "av"

    def take_pyav_away(self) -> None:
        """From now on it can't be imported."""
        self._shade('raise ImportError("PyAV was taken away")\n')

    def make_pyav_refuse(self) -> None:
        """From now on it opens nothing but WAV."""
        self._shade(_REFUSING.format(real=str(self._real)))

    def put_pyav_back(self) -> None:
        shutil.rmtree(self._shadow)

    def _shade(self, program: str) -> None:
        self._shadow.mkdir()
        (self._shadow / "__init__.py").write_text(program)
