"""How much GPU memory a model needs in each number format, and what to do when there is less. Pure.

need = weights × factor of the type + CONTEXT_BYTES + batch × max(encoder, decoder)
  encoder = 2 × heads × 1500² × bytes of a number: the attention scores of one layer and their softmax
  decoder = layers × 2 × width × (1500 + beams × TOKENS) × bytes of a number: the keys and values it keeps, of the
            audio once for a window (CTranslate2 does not copy them for each beam) and of the text once for a beam
It is computed and not measured: docs/gpu-operations.md says how far published measurements are from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .probe.facts import GpuDevice

GIGABYTE = 1_000_000_000

#: CUDA's context and cuBLAS's workspace, which stay as long as the process does.
CONTEXT_BYTES = 350_000_000

#: Positions of the encoder's output for one window of 30 seconds, and the text of a full window.
POSITIONS = 1500
TOKENS = 224

DEFAULT_BEAMS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """What of a model decides on its memory. `weights_bytes` is model.bin's size, in float16."""

    name: str
    weights_bytes: int
    width: int
    heads: int
    decoder_layers: int
    can_translate: bool = True
    is_english_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeType:
    """A number format: the size of the weights against float16's, and the bytes of a computed number."""

    name: str
    weights_factor: float
    number_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A model's need beside what is free. None: the table or NVML does not say."""

    model: str
    compute_type: str
    batch_size: int
    needed_bytes: int | None
    needed_for_batch_bytes: int | None
    free_bytes: int | None


#: By size. The weights are those of the catalogue, and a test keeps them equal.
SHAPES: tuple[ModelShape, ...] = (
    ModelShape(name="tiny", weights_bytes=75_538_270, width=384, heads=6, decoder_layers=4),
    ModelShape(
        name="tiny.en", weights_bytes=75_537_502, width=384, heads=6, decoder_layers=4,
        can_translate=False, is_english_only=True,
    ),
    ModelShape(name="base", weights_bytes=145_217_532, width=512, heads=8, decoder_layers=6),
    ModelShape(name="small", weights_bytes=483_546_902, width=768, heads=12, decoder_layers=12),
    ModelShape(name="medium", weights_bytes=1_527_906_378, width=1024, heads=16, decoder_layers=24),
    ModelShape(
        name="large-v3-turbo", weights_bytes=1_617_884_929, width=1280, heads=20, decoder_layers=4,
        can_translate=False,
    ),
    ModelShape(name="large-v2", weights_bytes=3_086_912_962, width=1280, heads=20, decoder_layers=32),
    ModelShape(name="large-v3", weights_bytes=3_087_284_237, width=1280, heads=20, decoder_layers=32),
)  # fmt: skip

#: 8-bit weights carry their scales and leave the convolutions as they are.
COMPUTE_TYPES: tuple[ComputeType, ...] = (
    ComputeType(name="float32", weights_factor=2.0, number_bytes=4),
    ComputeType(name="float16", weights_factor=1.0, number_bytes=2),
    ComputeType(name="bfloat16", weights_factor=1.0, number_bytes=2),
    ComputeType(name="int8_float32", weights_factor=0.52, number_bytes=4),
    ComputeType(name="int8_float16", weights_factor=0.52, number_bytes=2),
    ComputeType(name="int8_bfloat16", weights_factor=0.52, number_bytes=2),
)

#: What CTranslate2 makes of int8 with these weights, on a card that has float16.
_SAME_AS = {"int8": "int8_float16"}

#: The lighter format in place of one, of the same numbers.
_LIGHTER = {
    "float32": "int8_float32",
    "float16": "int8_float16",
    "bfloat16": "int8_bfloat16",
}


def find_shape(model: str) -> ModelShape | None:
    """The row of a model; None for one that is not in the table."""
    return next((shape for shape in SHAPES if shape.name == model), None)


def find_compute_type(name: str) -> ComputeType | None:
    """The row of a number format, by any of its names."""
    wanted = _SAME_AS.get(name, name)
    return next((each for each in COMPUTE_TYPES if each.name == wanted), None)


def find_need(
    model: str, compute_type: str, *, batch_size: int = 1, beams: int = DEFAULT_BEAMS
) -> int | None:
    """Bytes that an engine needs for this model; None where the table does not know it."""
    shape, kind = find_shape(model), find_compute_type(compute_type)
    return None if shape is None or kind is None else _need(shape, kind, batch_size, beams)


def _need(shape: ModelShape, kind: ComputeType, batch_size: int, beams: int) -> int:
    weights = int(shape.weights_bytes * kind.weights_factor)
    return weights + CONTEXT_BYTES + batch_size * _window_bytes(shape, kind, beams)


def _window_bytes(shape: ModelShape, kind: ComputeType, beams: int) -> int:
    encoder = 2 * shape.heads * POSITIONS**2 * kind.number_bytes
    kept = shape.decoder_layers * 2 * shape.width * (POSITIONS + beams * TOKENS)
    return max(encoder, kept * kind.number_bytes)


#: On a CPU: the interpreter with its libraries; CTranslate2's CPU numbers are never smaller than this.
PROCESS_BYTES = 150_000_000
_CPU_NUMBER_BYTES = 4


def find_need_on_cpu(
    model: str, compute_type: str, *, batch_size: int = 1, beams: int = DEFAULT_BEAMS
) -> int | None:
    """Bytes that an engine on the CPU needs at its peak, loading and working; None where the table does not know it.

    It is meant to be too high rather than too low: docs/models.md has measurements beside it.
    """
    # int8 on a CPU computes in float32 whatever its name says.
    shape, kind = (
        find_shape(model),
        find_compute_type("int8_float32" if "int8" in compute_type else "float32"),
    )
    if shape is None or kind is None:
        return None
    # While it loads, the file's numbers and those they are converted to are there together.
    weights = int(shape.weights_bytes * (1 + kind.weights_factor))
    scores = 2 * shape.heads * POSITIONS**2 * _CPU_NUMBER_BYTES
    kept = shape.decoder_layers * 2 * shape.width * (POSITIONS + beams * TOKENS) * _CPU_NUMBER_BYTES
    return PROCESS_BYTES + weights + max(scores, batch_size * kept)


def nearest_shape(model: str, weights_bytes: int | None) -> ModelShape | None:
    """The row of a model; for one that is not in the table, that of the next larger size. None: nothing is known of it."""
    known = find_shape(model)
    if known is not None or weights_bytes is None:
        return known
    return next((shape for shape in SHAPES if shape.weights_bytes >= 0.95 * weights_bytes), SHAPES[-1])


def weigh(model: str, compute_type: str, batch_size: int, free_bytes: int | None) -> Fit:
    """The need for one window at a time and for the batch, beside what is free."""
    return Fit(
        model=model,
        compute_type=compute_type,
        batch_size=batch_size,
        needed_bytes=find_need(model, compute_type),
        needed_for_batch_bytes=find_need(model, compute_type, batch_size=batch_size),
        free_bytes=free_bytes,
    )


def weigh_on(
    device: GpuDevice | None, compute_type: str | None, model: str | None, batch_size: int
) -> Fit | None:
    """The same for a model on this device; None where one of them is not known."""
    if device is None or compute_type is None or model is None:
        return None
    free = device.sharing.free_bytes if device.sharing else None
    return weigh(model, compute_type, batch_size, free)


def own_bytes(device: GpuDevice) -> int:
    """What processes of this service hold of the device, as far as NVML reports."""
    own = device.sharing.own_processes if device.sharing else {}
    return sum(size or 0 for size in own.values())


def advise_for(fit: Fit, device: GpuDevice) -> str | None:
    """What to do where the device has too little memory free for the model."""
    if fit.free_bytes is None:
        return None
    types = device.compute_types
    return advise(fit.model, fit.compute_type, fit.free_bytes, batch_size=fit.batch_size, supported=types)


def advise(
    model: str, compute_type: str, free_bytes: int, *, batch_size: int = 1, supported: tuple[str, ...] = ()
) -> str | None:
    """What to do where there is not enough memory free; None where there is, or where nothing is known.

    `supported`: the number formats of this card; empty: not known, and no format is ruled out.
    """
    compute_type = _on_this_card(compute_type, supported)
    least = find_need(model, compute_type)
    whole = find_need(model, compute_type, batch_size=batch_size)
    if least is None or whole is None or free_bytes >= whole:
        return None
    if free_bytes >= least:
        fitting = _largest_batch(model, compute_type, free_bytes, batch_size)
        need = f"{_gigabytes(whole)} GB for {batch_size} windows at once"
        return f"{model} {compute_type} needs about {need}; {_gigabytes(free_bytes)} GB is free: use WHISPER_BATCH_SIZE={fitting}"
    options = " or ".join(_options(model, compute_type, free_bytes, supported)) or "another GPU, or the CPU"
    return (
        f"{model} {compute_type} needs about {_gigabytes(least)} GB; {_gigabytes(free_bytes)} GB is free: "
        f"use {options}"
    )


def _on_this_card(compute_type: str, supported: tuple[str, ...]) -> str:
    """What CTranslate2 makes of int8: with float16 where the card has it."""
    if compute_type == "int8" and supported and "int8_float16" not in supported:
        return "int8_float32"
    return compute_type


def _largest_batch(model: str, compute_type: str, free_bytes: int, below: int) -> int:
    sizes = range(below - 1, 0, -1)
    fits = (n for n in sizes if (find_need(model, compute_type, batch_size=n) or 0) <= free_bytes)
    return next(fits, 1)


def _options(model: str, compute_type: str, free_bytes: int, supported: tuple[str, ...]) -> list[str]:
    """The lighter format, with the largest model that fits in it; and the largest that fits as it is."""
    lighter = _LIGHTER.get(compute_type, compute_type)
    smaller = _find_smaller(model, compute_type, free_bytes)
    options = [] if smaller is None else [smaller]
    if lighter == compute_type or (supported and lighter not in supported):
        return options
    if _fits(model, lighter, free_bytes):
        return [lighter, *options]
    light = _find_smaller(model, lighter, free_bytes)
    return options if light in (None, smaller) else [f"{light} {lighter}", *options]


def _find_smaller(model: str, compute_type: str, free_bytes: int) -> str | None:
    """The largest model that fits and can do all that this one can."""
    wanted = find_shape(model)
    if wanted is None:
        return None
    return next(
        (
            shape.name
            for shape in reversed(SHAPES)
            if shape.weights_bytes < 0.9 * wanted.weights_bytes
            and shape.can_translate >= wanted.can_translate
            and shape.is_english_only <= wanted.is_english_only
            and _fits(shape.name, compute_type, free_bytes)
        ),
        None,
    )


def _fits(model: str, compute_type: str, free_bytes: int) -> bool:
    need = find_need(model, compute_type)
    return need is not None and need <= free_bytes


def _gigabytes(size: int) -> str:
    return f"{size / GIGABYTE:.1f}"


def markdown() -> str:
    """The table for docs/gpu-operations.md: GB for one window at a time, and for eight."""
    names = [kind.name for kind in COMPUTE_TYPES if "bfloat16" not in kind.name]
    head = f"| model | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}\n"
    return head + "".join(f"| {shape.name} | {' | '.join(_cells(shape.name, names))} |\n" for shape in SHAPES)


def _cells(model: str, compute_types: list[str]) -> list[str]:
    needs = [[find_need(model, name, batch_size=n) or 0 for n in (1, 8)] for name in compute_types]
    return [f"{_gigabytes(one)} / {_gigabytes(eight)}" for one, eight in needs]
