"""The numbers of the training masks."""

from __future__ import annotations

from dataclasses import dataclass

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

    object_weight: float = 45  # of the three modes
    free_form_weight: float = 45
    rectangle_weight: float = 10
    smallest_hole: float = 0.05  # share of the picture
    largest_hole: float = 0.99
    redraws: int = 50  # then one plain rectangle
    second_silhouette: float = 0.5  # probability
    shifted: float = 0.8  # probability
    max_shift: int = 192  # pixels, each way in x and in y
    dilation: int = 20  # steps of a 4-neighbour cross
    smallest_thing: float = 0.01  # share of its picture from which on a thing serves as a silhouette
    small_rectangles: int = 9  # at most; sides below half the picture's
    large_rectangles: int = 4  # at most; sides below the picture's
    strokes: int = 19  # at most
    min_segments: int = 4  # of a stroke
    max_segments: int = 17
    min_width: int = 12  # pixels, of a stroke
    max_width: int = 48
    thing_covered: float = 0.5  # a thing covered by more than this share leaves the hole
    min_erosion: int = 2  # pixels by which it is made smaller first
    max_erosion: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            share = name in _SHARES
            if not 0 <= value <= (1 if share else float("inf")):
                needed = "a share from 0 to 1" if share else "a number of at least 0"
                raise UsageError("mask_config", f"{name} is {value}; {needed} is needed")
        for low, high in _ORDERED:
            if getattr(self, low) > getattr(self, high):
                values = f"{low} is {getattr(self, low)} and {high} {getattr(self, high)}"
                raise UsageError("mask_config", f"{values}; the first must not be above the second")
        if not sum(self.weights):
            raise UsageError("mask_config", "all three weights are 0; at least one must be above")

    @property
    def weights(self) -> tuple[float, float, float]:
        """Of `MODES`, in their order."""
        return self.object_weight, self.free_form_weight, self.rectangle_weight


_SHARES = ("smallest_hole", "largest_hole", "second_silhouette", "shifted", "smallest_thing", "thing_covered")
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
