"""The inpainting graphs that people have, in one table: what they take and give, and how a file is told for one.

Names, types and shapes say which row it may be; a probe run says the rest: which value of the mask is the hole, and the
range of the output. File names say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cmgan.errors import ModelError, UsageError

Arrays = dict[str, np.ndarray]
Run = Callable[[Arrays], np.ndarray]  # a graph's output for its inputs by name
Sizes = tuple[int | str, ...]  # free sizes by name, `?` where they have none

DEFAULT_RESOLUTION = 512
_PROBE = 128  # pixels: graphs of free sizes are probed small
_SAME = 1e-5  # share of the output's range: runs that differ by less are the same


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    type: str  # float32, uint8, ...
    shape: Sizes

    def __str__(self) -> str:
        return f"{self.name} {self.type} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class Signature:
    """A row of the table, and of a known file the names of its tensors and what the probe found.

    Pictures are NCHW, RGB. `hole` is the mask's value in the hole, `known` the other one; floats are in [0, 1], an
    output in [0, `scale`].
    """

    name: str
    about: str
    types: tuple[tuple[str, int], ...]  # of the inputs: element type, channels
    hole: int
    known: int
    scale: float
    inputs: tuple[str, ...] = ()
    output: str = ""
    resolution: int = 0
    batch: int | None = None  # the only batch that the graph takes; None: any
    why: str = ""

    def feeds(self, image: np.ndarray, mask: np.ndarray) -> Arrays:
        """The graph's inputs for pictures uint8 (N, R, R, 3) and masks uint8 (N, R, R), hole = value >= 128."""
        hole = (mask >= 128)[:, None]
        planes = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        if self.types[0][0] == "uint8":
            return dict(zip(self.inputs, (planes, self._mask(hole)), strict=True))
        # The colours under the mask go: networks that mask them themselves do not see a difference.
        masked = np.where(hole, np.float32(0), planes.astype(np.float32) / 255)
        if len(self.inputs) == 1:
            return {self.inputs[0]: np.concatenate([masked, self._mask(hole)], 1)}
        return dict(zip(self.inputs, (masked, self._mask(hole)), strict=True))

    def picture(self, output: np.ndarray, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The picture, uint8 (N, R, R, 3), of a finite output: known pixels are the input's own."""
        if output.dtype != np.uint8:
            output = np.rint(output.clip(0, self.scale) * (255 / self.scale)).astype(np.uint8)
        return np.where((mask >= 128)[..., None], output.transpose(0, 2, 3, 1), image)

    def facts(self) -> dict[str, object]:
        """What `of_facts` makes it of again, for metadata."""
        names = ("name", "hole", "known", "scale", "inputs", "output", "resolution", "batch", "why")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of_facts(cls, facts: dict[str, object]) -> Signature:
        """The inverse of `facts`."""
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
        return replace(SIGNATURES[str(values.pop("name"))], **values)  # type: ignore[arg-type]

    def _mask(self, hole: np.ndarray) -> np.ndarray:
        return np.where(hole, self.hole, self.known).astype(self.types[0][0])


SIGNATURES = {
    signature.name: signature
    for signature in (
        Signature("lama", "LaMa: picture and mask apart", (("float32", 3), ("float32", 1)), 1, 0, 1),
        Signature("lama-4", "LaMa: masked picture and mask in four channels", (("float32", 4),), 1, 0, 1),
        Signature("migan", "MI-GAN's pipeline of bytes", (("uint8", 3), ("uint8", 1)), 0, 255, 255),
    )
}


def identify(inputs: list[Port], outputs: list[Port], run: Run, wanted: str = "", resolution: int = 0) -> Signature:
    """Which signature a graph has.

    Args:
        run: the graph itself.
        wanted: the name of the signature that the user says it has; then the mask's habit is not probed.
        resolution: R for a graph of free sizes; 0: 512.

    Raises:
        UsageError: `wanted` is unknown, or `resolution` is not the graph's.
        ModelError: it has none, naming what was seen; or the probe contradicts it.
    """
    if wanted and wanted not in SIGNATURES:
        raise UsageError("signature", f"--signature {wanted!r}: known are {', '.join(SIGNATURES)}")
    found = _by_shapes(inputs, outputs, wanted)
    side = _resolution(found.inputs, inputs, resolution)
    found = replace(found, resolution=side)
    free = any(isinstance(size, str) for port in inputs for size in port.shape[2:])
    return _probed(found, run, _PROBE if free and side % _PROBE == 0 else side, trust=bool(wanted))


def listed(inputs: list[Port], outputs: list[Port]) -> str:
    """Inputs and outputs for a message."""
    return f"{', '.join(map(str, inputs))} -> {', '.join(map(str, outputs))}"


def known() -> str:
    """The table in one line."""
    return "; ".join(
        f"{s.name}: " + ", ".join(f"{kind} (N, {channels}, H, W)" for kind, channels in s.types)
        for s in SIGNATURES.values()
    )


def _by_shapes(inputs: list[Port], outputs: list[Port], wanted: str) -> Signature:
    seen = listed(inputs, outputs)
    if all(len(port.shape) == 4 for port in [*inputs, *outputs[:1]]) and outputs:
        ordered = sorted(inputs, key=lambda port: -port.shape[1] if isinstance(port.shape[1], int) else 0)
        for signature in SIGNATURES.values():
            types = tuple((port.type, port.shape[1]) for port in ordered)
            output = outputs[0]
            given = output.type, output.shape[1]
            fits = given[0] == types[0][0] and (given[1] == 3 or isinstance(given[1], str)) if types else False
            if types == signature.types and fits:
                _check_names(ordered)
                if not wanted or wanted == signature.name:
                    batches = {port.shape[0] for port in inputs if isinstance(port.shape[0], int)}
                    return replace(
                        signature,
                        inputs=tuple(port.name for port in ordered),
                        output=output.name,
                        batch=batches.pop() if batches else None,
                        why=seen,
                    )
    wanted = f"--signature {wanted}" if wanted else f"an inpainting graph that is known ({known()})"
    raise ModelError("signature", f"has {seen}, which is not {wanted}")


def _check_names(ordered: list[Port]) -> None:
    if len(ordered) == 2:
        image, mask = (port.name.lower() for port in ordered)
        if "mask" in image or ("image" in mask and "mask" not in mask):
            message = f"names contradict shapes: {ordered[0]} would be the picture, {ordered[1]} the mask"
            raise ModelError("signature", message)


def _resolution(names: tuple[str, ...], inputs: list[Port], wanted: int) -> int:
    sizes = {size for port in inputs for size in port.shape[2:] if isinstance(size, int)}
    if len(sizes) > 1:
        raise ModelError("signature", f"is for pictures of {' x '.join(map(str, sorted(sizes)))}; squares are needed")
    has = sizes.pop() if sizes else 0
    if wanted and has and wanted != has:
        raise UsageError("resolution", f"--res {wanted}: the model works at {has} x {has} only; leave --res out")
    return has or wanted or DEFAULT_RESOLUTION


def _probed(signature: Signature, run: Run, side: int, *, trust: bool) -> Signature:
    """The signature with what runs on noise show of its mask and its output."""
    rng = np.random.default_rng(0)
    image, other = rng.integers(0, 256, (2, 1, side, side, 3), dtype=np.uint8)
    box = np.zeros((1, side, side), bool)
    box[:, side // 4 : -side // 4, side // 4 : -side // 4] = True
    plain = _answer(signature, run, image, box)
    scale = _scale(signature, plain)
    signature = replace(signature, scale=scale)
    why = f"{signature.why}; its output runs from {plain.min():.3g} to {plain.max():.3g}, so to {scale:g}"
    if trust or len(signature.inputs) == 1:
        return replace(signature, why=f"{why}; {signature.hole} is taken for the hole")
    same_inside, same_outside = (
        _equal(plain, _answer(signature, run, np.where(where[..., None], other, image), box)) for where in (box, ~box)
    )
    if same_inside and not same_outside:
        return replace(signature, why=f"{why}; the picture where the mask is {signature.hole} has no influence")
    if same_outside and not same_inside:
        swapped = replace(signature, hole=signature.known, known=signature.hole)
        return replace(swapped, why=f"{why}; the picture where the mask is {swapped.hole} has no influence")
    near = np.abs(plain / scale - image.transpose(0, 3, 1, 2) / 255.0).mean(1)
    if not same_inside and near[~box].mean() < 0.02 < 0.1 < near[box].mean():
        return replace(signature, why=f"{why}; the picture is kept where the mask is {signature.known}")
    seen = "not at all" if same_inside else "under the mask and outside it alike"
    message = f"is no inpainting graph though it has {signature.why}: in a probe the picture matters {seen}"
    raise ModelError("signature", f"{message}; --signature {signature.name} takes it for one all the same")


def _answer(signature: Signature, run: Run, image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The graph's output for the picture as it is, also under the mask."""
    planes = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    kind = signature.types[0][0]
    mask = np.where(box[:, None], signature.hole, signature.known).astype(kind)
    pixels = planes if kind == "uint8" else planes.astype(np.float32) / 255
    if len(signature.inputs) == 1:
        feeds = {signature.inputs[0]: np.concatenate([pixels * (1 - mask), mask], 1)}
    else:
        feeds = dict(zip(signature.inputs, (pixels, mask), strict=True))
    output = run(feeds)
    if output.shape != planes.shape:
        message = f"is no inpainting graph though it has {signature.why}: from {planes.shape} it makes {output.shape}"
        raise ModelError("signature", message)
    return output.astype(np.float64)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() <= _SAME * max(np.ptp(a), 1e-3))


def _scale(signature: Signature, output: np.ndarray) -> float:
    if signature.types[0][0] == "uint8":
        return 255
    low, high = float(output.min()), float(output.max())
    if not np.isfinite([low, high]).all():
        raise ModelError("signature", "gives numbers that are not finite in a probe run on noise")
    if low > -0.5 and high <= 1.5:
        return 1
    if low > -64 and 2 < high < 320:
        return 255
    raise ModelError("signature", f"gives {low:.3g} to {high:.3g} in a probe run; 0 to 1 or 0 to 255 is expected")
