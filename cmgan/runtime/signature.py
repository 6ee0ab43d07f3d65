"""The inputs and outputs that an artefact must have, whatever its format."""

from __future__ import annotations

from cmgan.errors import ModelError
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.signatures import Signature as Foreign

Signature = dict[str, tuple[str, tuple[int | str, ...]]]  # name -> element type, shape without the batch


def check_signature(seen: Signature, metadata: Metadata) -> None:
    """Raise `ModelError`, listing both, when a file has not the inputs and outputs that its metadata promise."""
    wanted = promised(metadata)
    if seen != wanted:
        raise ModelError("signature", f"has the inputs and outputs {_listed(seen)}; {_listed(wanted)} are needed")


def promised(metadata: Metadata) -> Signature:
    """The signature of a pipeline or core graph of that resolution."""
    side = metadata.resolution
    if "signature" in metadata.details:
        foreign = Foreign.of_facts(metadata.details["signature"])
        kinds = zip(foreign.inputs, foreign.types, strict=True)
        seen: Signature = {name: (kind, (channels, side, side)) for name, (kind, channels) in kinds}
        return seen | {foreign.output: (foreign.types[0][0], (3, side, side))}
    z = ("float32", (metadata.z_dim,))
    if metadata.pipeline == "full":
        pictures = ("uint8", (side, side, 3))
        return {"image": pictures, "mask": ("uint8", (side, side)), "z": z, "output": pictures}
    planes = ("float32", (3, side, side))
    return {"image": planes, "mask": ("float32", (1, side, side)), "z": z, "output": planes}


def _listed(signature: Signature) -> str:
    return ", ".join(f"{name} {kind} (N, {', '.join(map(str, shape))})" for name, (kind, shape) in signature.items())
