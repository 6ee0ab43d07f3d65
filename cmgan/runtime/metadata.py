"""What an artefact says about itself: `metadata_props` in ONNX, `NAME.json` beside files that have no place for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cmgan.errors import ModelError
from cmgan.runtime.engine import MASK_RULE, EngineInfo

SCHEMA = 1
PREFIX = "cmgan."


@dataclass(frozen=True)
class Metadata:
    """Facts that go with every artefact. All of them are strings, numbers, booleans or plain dictionaries."""

    format: str
    name: str  # of the model
    version: str  # of cmgan, when it was made
    resolution: int
    z_dim: int
    pipeline: str  # full: bytes in, bytes out; core: the network alone
    precision: str
    fft: str
    trained: bool
    licence: str  # of the weights
    weights_sha256: str
    raw: str  # name of the tensor that holds the raw RGB, for parity
    verdict: dict[str, Any]  # what the parity gate measured
    mask_rule: str = MASK_RULE
    layout: str = ""
    details: dict[str, Any] = field(default_factory=dict)  # of the format: versions, targets, profile, instruction set
    schema: int = SCHEMA

    def to_strings(self) -> dict[str, str]:
        """As `metadata_props`: keys with the prefix `cmgan.`, values as JSON."""
        return {PREFIX + key: json.dumps(value) for key, value in asdict(self).items()}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> Metadata:
        """The inverse of `to_strings`.

        Raises:
            ModelError: there is no cmgan metadata, it is incomplete, or a newer cmgan wrote it.
        """
        if not is_ours(strings):
            raise ModelError("foreign_model", "was not exported by cmgan; make one with: cmgan export --format onnx")
        try:
            values = {f.name: json.loads(strings[PREFIX + f.name]) for f in fields(cls)}
        except KeyError as missing:
            if not _newer(strings):
                raise ModelError("metadata", f"has no metadata field {missing.args[0]}; export it again") from None
        except ValueError:
            raise ModelError("metadata", "has metadata that cannot be read; export it again") from None
        if _newer(strings):
            seen = strings[PREFIX + "schema"]
            message = f"has metadata of schema {seen}; this cmgan reads up to {SCHEMA}: install a newer one"
            raise ModelError("newer_schema", message)
        return cls(**values)

    @classmethod
    def assumed(cls, resolution: int, z_dim: int, pipeline: str) -> Metadata:
        """Of a file without any: what its inputs show, and nothing promised."""
        return cls(
            format="onnx",
            name="foreign",
            version="",
            resolution=resolution,
            z_dim=z_dim,
            pipeline=pipeline,
            precision="unknown",
            fft="",
            trained=True,
            licence="unknown",
            weights_sha256="",
            raw="",
            verdict={},
        )

    def engine_info(self, **details: Any) -> EngineInfo:
        return EngineInfo(
            format=self.format,
            name=self.name,
            resolution=self.resolution,
            z_dim=self.z_dim,
            precision=self.precision,
            trained=self.trained,
            weights_sha256=self.weights_sha256,
            details=details,
        )


def is_ours(strings: Mapping[str, str]) -> bool:
    """Whether cmgan wrote these metadata."""
    return PREFIX + "schema" in strings


def _newer(strings: Mapping[str, str]) -> bool:
    text = strings[PREFIX + "schema"]
    return text.isdigit() and int(text) > SCHEMA
