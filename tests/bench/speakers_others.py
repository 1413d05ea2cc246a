"""The same recordings by sherpa-onnx, with the same two networks, and every answer scored by pyannote.metrics.

Runs in an environment of its own, which scripts/bench-speakers makes: python speakers_others.py FOLDER WEIGHTS. FOLDER has NAME.wav and NAME.json
(reference[[voice, start, end]], found[[speaker, start, end]], speakers) for each recording; prints a JSON object a line.
"""

from __future__ import annotations

import json
import sys
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sherpa_onnx
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

#: pyannote's collar is both sides together.
COLLARS = {"half_second": 0.5, "quarter_second": 0.25}

#: What sherpa-onnx reads of a model beside its weights.
SEGMENTATION = {
    "model_type": "pyannote-segmentation-3.0",
    "version": "1",
    "num_speakers": "3",
    "powerset_max_classes": "2",
    "num_classes": "7",
    "sample_rate": "16000",
    "window_size": "160000",
    "receptive_field_size": "991",
    "receptive_field_shift": "270",
}
EMBEDDING = {
    "framework": "3d-speaker",
    "language": "Chinese-English",
    "url": "",
    "comment": "",
    "sample_rate": "16000",
    "output_dim": "192",
    "normalize_samples": "1",
    "feature_normalize_type": "global-mean",
}


def main(folder: Path, weights: Path) -> None:
    segmentation = described(weights / "segmentation.onnx", folder / "segmentation.onnx", SEGMENTATION)
    embedding = described(weights / "embedding.onnx", folder / "embedding.onnx", EMBEDDING)
    free = diarizer(segmentation, embedding, -1)
    for path in sorted(folder.glob("*.json")):
        given = json.loads(path.read_text())
        sound = read(path.with_suffix(".wav"))
        told = diarizer(segmentation, embedding, given["speakers"])
        begun = time.perf_counter()
        theirs = turns(free, sound)
        seconds = time.perf_counter() - begun
        answers = {"ours": given["found"], "sherpa": theirs, "sherpa_told": turns(told, sound)}
        scores = {name: scored(given["reference"], found, len(sound)) for name, found in answers.items()}
        line = {"name": path.stem, "seconds": seconds, "sherpa": theirs, "told": answers["sherpa_told"]}
        print(json.dumps(line | {"scores": scores}), flush=True)


def described(source: Path, target: Path, facts: dict[str, str]) -> Path:
    """A copy of the model with these facts in it."""
    model = onnx.load(str(source))
    for name, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value
    onnx.save(model, str(target))
    return target


def diarizer(segmentation: Path, embedding: Path, speakers: int) -> Any:
    config = sherpa_onnx.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa_onnx.OfflineSpeakerSegmentationModelConfig(
            pyannote=sherpa_onnx.OfflineSpeakerSegmentationPyannoteModelConfig(model=str(segmentation))
        ),
        embedding=sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(embedding)),
        clustering=sherpa_onnx.FastClusteringConfig(num_clusters=speakers, threshold=0.5),
        min_duration_on=0.3,
        min_duration_off=0.5,
    )
    return sherpa_onnx.OfflineSpeakerDiarization(config)


def turns(made: Any, sound: Any) -> list[list[Any]]:
    return [[one.speaker, one.start, one.end] for one in made.process(sound).sort_by_start_time()]


def scored(reference: list[Any], found: list[Any], samples: int) -> dict[str, dict[str, float]]:
    """Seconds by kind, for each collar."""
    whole = Timeline([Segment(0, samples / 16_000)])
    return {
        name: dict(
            DiarizationErrorRate(collar=collar).compute_components(
                annotation(reference), annotation(found), uem=whole
            )
        )
        for name, collar in COLLARS.items()
    }


def annotation(stretches: list[Any]) -> Annotation:
    made = Annotation()
    for number, (who, start, end) in enumerate(stretches):
        made[Segment(start, end), number] = who
    return made


def read(path: Path) -> Any:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples.astype(np.float32) / 32768


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
