"""Masks to train on and to evaluate with: bool (R, R), True = hole.

Object-aware masks (Zheng et al. 2022, section 3.3), their parts, and the thin, medium and thick masks of LaMa.
"""

from cmgan.masks.config import MaskConfig
from cmgan.masks.draw import KINDS, draw_mask, training_mask
from cmgan.masks.evaluation import MaskSet, evaluation_masks, hole_ratio
from cmgan.masks.segments import AnnotatedPictures, Segments, read_segments
from cmgan.masks.silhouettes import Silhouettes, silhouettes_from

__all__ = [
    "KINDS",
    "AnnotatedPictures",
    "MaskConfig",
    "MaskSet",
    "Segments",
    "Silhouettes",
    "draw_mask",
    "evaluation_masks",
    "hole_ratio",
    "read_segments",
    "silhouettes_from",
    "training_mask",
]
