"""Weights turned into int8 on the way: the same numbers as CTranslate2's, and the file left alone where it can't be."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from transcriber.engine.child.model.weights import QuantizedWeights


def test_matrices_become_int8_with_a_scale_for_each_row(tmp_path: Path) -> None:
    matrix = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]], np.float16)
    _write(tmp_path, {"a/weight": matrix, "a/bias": np.ones(2, np.float16), "conv1/weight": matrix})

    with QuantizedWeights(tmp_path).as_folder() as folder:
        variables, aliases = _read(folder / "model.bin")

    assert list(variables) == ["a/weight", "a/weight_scale", "a/bias", "conv1/weight"]
    assert variables["a/weight"].tolist() == [[64, -127, 32], [0, 0, 0]]
    assert variables["a/weight_scale"].tolist() == [63.5, 1.0]
    assert variables["conv1/weight"].dtype == np.float16
    assert aliases == b"aliases"


def test_large_matrix_is_the_same_in_pieces(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(2500, 1000)).astype(np.float32)
    _write(tmp_path, {"weight": matrix})

    with QuantizedWeights(tmp_path).as_folder() as folder:
        variables, _ = _read(folder / "model.bin")

    scale = np.float32(127.0) / np.abs(matrix).max(axis=1)
    assert np.array_equal(variables["weight_scale"], scale)
    assert np.array_equal(variables["weight"], np.rint(matrix * scale[:, None]).astype(np.int8))


def test_other_files_are_there_and_nothing_is_left(tmp_path: Path) -> None:
    _write(tmp_path, {"weight": np.ones((1, 1), np.float16)})
    (tmp_path / "config.json").write_text("{}")

    with QuantizedWeights(tmp_path).as_folder() as folder:
        assert (folder / "config.json").read_text() == "{}"

    assert not folder.exists()


@pytest.mark.parametrize("content", [struct.pack("<I", 5) + b"older", b"", b"\6\0"])
def test_file_of_another_layout_is_left_to_ctranslate2(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)

    with QuantizedWeights(tmp_path).as_folder() as folder:
        assert folder == tmp_path


def test_weights_that_are_int8_are_loaded_as_they_are(tmp_path: Path) -> None:
    _write(tmp_path, {"weight": np.ones((1, 1), np.int8)})

    with QuantizedWeights(tmp_path).as_folder() as folder:
        assert folder == tmp_path


def test_without_room_to_write_the_model_is_loaded_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, {"weight": np.ones((1, 1), np.float16)})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with QuantizedWeights(tmp_path).as_folder() as folder:
        assert folder == tmp_path


def test_folder_for_links_that_is_gone_costs_the_second_copy_its_thrift_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, {"weight": np.ones((1, 1), np.float16)})
    weights = QuantizedWeights(tmp_path)
    with weights.as_folder() as folder:
        assert folder != tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with weights.as_folder() as folder:
        assert folder == tmp_path


def test_what_fails_while_the_copy_is_loaded_is_raised(tmp_path: Path) -> None:
    _write(tmp_path, {"weight": np.ones((1, 1), np.float16)})

    with pytest.raises(OSError, match="of the load"), QuantizedWeights(tmp_path).as_folder():
        raise OSError("of the load")


@pytest.mark.model
def test_a_real_model_computes_the_same(models_folder: Path) -> None:
    features = np.random.default_rng(0).normal(size=(1, 80, 3000)).astype(np.float32)
    plain = models_folder / "tiny.en"

    with QuantizedWeights(plain).as_folder() as folder:
        assert folder != plain
        found = [_encode(each, features) for each in (plain, folder)]

    assert np.array_equal(*found)


@pytest.fixture
def models_folder() -> Path:
    return Path(__file__).resolve().parents[5] / "data" / "models"


def _encode(folder: Path, features: np.ndarray) -> np.ndarray:
    model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8", intra_threads=1)
    assert model.compute_type == "int8_float32"
    return np.array(model.encode(ctranslate2.StorageView.from_array(features)))


_TYPES = [np.dtype(name) for name in ("float32", "int8", "int16", "int32", "float16")]


def _write(folder: Path, variables: dict[str, np.ndarray]) -> None:
    out = io.BytesIO()
    out.write(struct.pack("<I", 6) + _string("WhisperSpec") + struct.pack("<II", 3, len(variables)))
    for name, value in variables.items():
        out.write(_string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape))
        out.write(struct.pack("<BI", _TYPES.index(value.dtype), value.nbytes) + value.tobytes())
    (folder / "model.bin").write_bytes(out.getvalue() + b"aliases")


def _read(path: Path) -> tuple[dict[str, np.ndarray], bytes]:
    source = io.BytesIO(path.read_bytes())
    assert _unpack(source, "<I") == (6,)
    assert source.read(_unpack(source, "<H")[0]) == b"WhisperSpec\0"
    variables = {}
    for _ in range(_unpack(source, "<II")[1]):
        name = source.read(_unpack(source, "<H")[0])[:-1].decode()
        shape = _unpack(source, f"<{_unpack(source, '<B')[0]}I")
        type_id, size = _unpack(source, "<BI")
        variables[name] = np.frombuffer(source.read(size), _TYPES[type_id]).reshape(shape)
    return variables, source.read()


def _unpack(source: io.BytesIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, source.read(struct.calcsize(form)))


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"
