"""The numbers of the training masks."""

from __future__ import annotations

from dataclasses import dataclass

from cmgan.config import check_options, option
from cmgan.errors import UsageError

MODES = ("objects", "free-form", "rectangles")  # what an object-aware mask is made of
_REFERENCE = 512  # the resolution that numbers in pixels refer to


@dataclass(frozen=True)
class MaskConfig:
    """The numbers of object-aware masks; the defaults are those of the paper's authors (Zheng et al. 2022, section 3.3,
    and the mask generator that they released). Pixels are those of a 512 x 512 picture: they scale with the resolution.

    Raises:
        UsageError: a share outside [0, 1], a negative number, a smallest value above its largest, no weight at all.
    """

    object_weight: float = option(45.0, "of object masks among the three modes", least=0)
    free_form_weight: float = option(45.0, "of free-form masks", least=0)
    rectangle_weight: float = option(10.0, "of rectangles", least=0)
    smallest_hole: float = option(0.05, "least share of the picture", least=0, most=1)
    largest_hole: float = option(0.99, "largest share of the picture", least=0, most=1)
    redraws: int = option(50, "of a mask beyond these shares; then it is one plain rectangle", least=0)
    second_silhouette: float = option(0.5, "probability of a second object", least=0, most=1)
    shifted: float = option(0.8, "probability of a shift", least=0, most=1)
    max_shift: int = option(192, "pixels, each way in x and in y", least=0)
    dilation: int = option(20, "pixels by which objects grow, steps of a 4-neighbour cross", least=0)
    smallest_thing: float = option(0.01, "share of its picture from which on a thing is an object", least=0, most=1)
    small_rectangles: int = option(9, "most of them; sides below half the picture's", least=0)
    large_rectangles: int = option(4, "most of them; sides below the picture's", least=0)
    strokes: int = option(19, "most of them", least=0)
    min_segments: int = option(4, "of a stroke", least=0)
    max_segments: int = option(17, "of a stroke", least=0)
    min_width: int = option(12, "pixels, of a stroke", least=0)
    max_width: int = option(48, "pixels, of a stroke", least=0)
    thing_covered: float = option(0.5, "a thing of which more than this share is covered is spared", least=0, most=1)
    min_erosion: int = option(2, "pixels by which it is made smaller first", least=0)
    max_erosion: int = option(4, "pixels by which it is made smaller first", least=0)

    def __post_init__(self) -> None:
        check_options(self, "masks")
        for low, high in _ORDERED:
            if getattr(self, low) > getattr(self, high):
                values = f"masks.{low} is {getattr(self, low)} and masks.{high} {getattr(self, high)}"
                raise UsageError("config", f"{values}; the first must not be above the second")
        if not sum(self.weights):
            raise UsageError("config", "the three weights of [masks] are 0; at least one must be above")

    @property
    def weights(self) -> tuple[float, float, float]:
        """Of `MODES`, in their order."""
        return self.object_weight, self.free_form_weight, self.rectangle_weight


_ORDERED = (
    ("smallest_hole", "largest_hole"),
    ("min_segments", "max_segments"),
    ("min_width", "max_width"),
    ("min_erosion", "max_erosion"),
)
PUBLISHED = MaskConfig()


def scaled(pixels: float, resolution: int) -> int:
    """`pixels` of a 512 x 512 picture at another resolution, in whole pixels; what is there does not vanish."""
    return max(1, round(pixels * resolution / _REFERENCE)) if pixels else 0
