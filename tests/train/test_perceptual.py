"""The perceptual distance, and the networks that it looks through."""

import math

import numpy as np
import pytest
import torch

from cmgan.errors import ModelError, UsageError
from cmgan.features.maps import Vgg16, extractor
from cmgan.train.perceptual import UNIT_EPSILON, Perceptual, feature_distance
from tests.tolerances import tolerance


def test_feature_distance_is_the_sum_of_mean_squared_distances_of_unit_vectors():
    shapes = [(2, 3, 4, 4), (2, 5, 2, 2)]
    ours, truth = ([torch.randn(s, dtype=torch.float64) for s in shapes] for _ in range(2))
    literal = 0.0
    for a, b in zip(ours, truth, strict=True):
        n, _, height, width = a.shape
        for place in np.ndindex(n, height, width):
            u, v = (f[place[0], :, place[1], place[2]] for f in (a, b))
            u, v = (f / math.sqrt(f.square().sum().item() + UNIT_EPSILON) for f in (u, v))
            literal += (u - v).square().sum().item() / (n * height * width)
    assert feature_distance(ours, truth).item() == pytest.approx(literal, abs=tolerance("float64"))


def test_features_without_length_have_a_finite_gradient():
    zero = torch.zeros(1, 3, 2, 2, requires_grad=True)
    feature_distance([zero], [torch.ones(1, 3, 2, 2)]).backward()
    assert zero.grad.isfinite().all()


def test_same_pictures_have_no_distance_and_the_truth_no_gradient():
    perceptual = Perceptual(extractor("efficientnet-lite0"), side=0)
    picture, truth = (torch.rand(1, 3, 64, 64) * 2 - 1 for _ in range(2))
    picture.requires_grad_()
    truth.requires_grad_()
    distance = perceptual(picture, truth)
    distance.backward()
    assert distance > 0.1 and picture.grad.abs().sum() > 0
    assert truth.grad is None
    assert perceptual(truth, truth).item() == 0


def test_pictures_are_shrunk_to_the_side():
    seen = []

    class Recorder(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            seen.append(x)
            return [x]

    picture = torch.rand(1, 3, 64, 64)
    Perceptual(Recorder(), side=16)(picture, picture)
    assert all(x.shape == (1, 3, 16, 16) for x in seen)
    torch.testing.assert_close(seen[0][0, 1, 2, 3], picture[0, 1, 8:12, 12:16].mean())
    Perceptual(Recorder(), side=128)(picture, picture)
    assert seen[-1].shape == (1, 3, 64, 64)


def test_vgg16_is_that_of_torchvision(tmp_path):
    """Names and shapes of torchvision's published state dictionary, and its preprocessing; a classifier is ignored."""
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    state, channels = {"classifier.6.bias": torch.zeros(1000)}, 3
    for index, width in zip(convolutions, widths, strict=True):
        state[f"features.{index}.weight"] = torch.randn(width, channels, 3, 3) / math.sqrt(9 * channels)
        state[f"features.{index}.bias"] = torch.randn(width)
        channels = width
    torch.save(state, tmp_path / "vgg16.pth")
    network = extractor(f"vgg16:{tmp_path / 'vgg16.pth'}")
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    maps = network(image)
    assert [tuple(m.shape) for m in maps] == [
        (1, c, s, s) for c, s in ((64, 32), (128, 16), (256, 8), (512, 4), (512, 2))
    ]
    x = (image / 2 + 0.5 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    for index in (0, 2):
        x = torch.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1).relu()
    torch.testing.assert_close(maps[0], x)
    assert not any(p.requires_grad for p in network.parameters())


def test_what_is_no_extractor_is_refused(tmp_path):
    for name in ("inception", "vgg16", "efficientnet-lite0:file"):
        with pytest.raises(UsageError, match="vgg16:FILE"):
            extractor(name)
    (tmp_path / "other.pth").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="VGG16"):
        extractor(f"vgg16:{tmp_path / 'other.pth'}")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "few.pth")
    with pytest.raises(ModelError, match="VGG16"):
        extractor(f"vgg16:{tmp_path / 'few.pth'}")
    assert len(Vgg16().features) == 13
