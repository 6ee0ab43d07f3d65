"""What can be asked of `POST /api/v1/inpaint`, in one model for JSON and for forms."""

from __future__ import annotations

import difflib
import secrets
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cmgan.serve.refusals import HttpRefusal

# What clients of IOPaint send about other models, and about sizes that an engine of fixed size does not ask for.
_FOREIGN = (
    *("ldm_", "sd_", "zits_", "hd_strategy_", "croper_", "extender_", "use_", "cv2_", "paint_by_", "p2p_", "enable_"),
    *("controlnet_", "brushnet_", "powerpaint_", "fitting_", "prompt", "negative_"),
)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class InpaintForm(BaseModel):
    """A picture, its hole, and how to fill it. Clients of IOPaint are understood: its names are accepted too."""

    model_config = ConfigDict(extra="forbid")

    image: str | bytes = Field(description="The picture: PNG, JPEG or WebP; in JSON base64 or a data: URL.")
    mask: str | bytes | None = Field(None, description="The mask, as large as the picture; hole = value >= 128.")
    box: str | None = Field(None, description="Boxes instead of a mask: x,y,w,h in pixels; several with ; between.")
    mask_from: Literal["alpha"] | None = Field(None, description="alpha: the picture's transparency is the hole.")
    strategy: Annotated[Literal["crop", "resize", "original", "tile"], BeforeValidator(_lower)] = Field(
        "crop",
        validation_alias=AliasChoices("strategy", "hd", "hd_strategy"),
        description="What the network gets to see.",
    )
    crop_margin: int = Field(
        128,
        validation_alias=AliasChoices("crop_margin", "hd_strategy_crop_margin"),
        description="Pixels around a hole that the network sees.",
    )
    overlap: int | None = Field(None, description="Pixels that neighbouring tiles share; 64 if not said.")
    dilate: int = Field(0, description="Pixels by which the hole grows.")
    feather: int = Field(0, description="Pixels inside the hole over which the old picture fades.")
    seed: int = Field(
        0,
        ge=-1,
        le=2**63 - 1,
        validation_alias=AliasChoices("seed", "sd_seed"),
        description="The same one gives the same bytes; -1 draws one.",
    )
    samples: int = Field(1, ge=1, le=16, description="Pictures of the seeds seed, seed + 1, ...")
    format: Annotated[Literal["png", "jpeg", "webp"], BeforeValidator(_lower)] = Field(
        "png", description="Of the answer; only PNG keeps every known pixel."
    )
    quality: int = Field(95, ge=1, le=100, description="Of JPEG and WebP.")
    invert_mask: bool = False
    mask_threshold: int = Field(128, ge=1, le=255)
    mask_channel: Literal["auto", "luma", "alpha", "red"] = "auto"
    resize_mask: bool = Field(False, description="Scale the mask to the picture's size.")
    allow_full_mask: bool = False

    def first_seed(self) -> int:
        """The seed of the first sample: the one given, or one that is drawn."""
        return secrets.randbelow(2**31) if self.seed < 0 else self.seed


def parse(fields: dict[str, Any]) -> InpaintForm:
    """The form out of the fields that came.

    Raises:
        HttpRefusal: field (400): unknown, missing, or out of its range; the sentence names it.
    """
    known = _names()
    for name in list(fields):
        if name not in known and name.startswith(_FOREIGN):
            del fields[name]
        elif name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise HttpRefusal(400, "field", f"unknown field {name[:40]!r}; {hint}")
    try:
        return InpaintForm.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"][:1]) or "form"
        raise HttpRefusal(400, "field", f"{where}: {first['msg'][:1].lower()}{first['msg'][1:160]}") from None


def _names() -> set[str]:
    names = set(InpaintForm.model_fields)
    for field in InpaintForm.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {str(choice) for choice in field.validation_alias.choices}
    return names
