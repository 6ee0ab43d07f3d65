"""The whole network on seeded weights: what it looks at, that nothing in it is dead, that it is what it says."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cmgan.config import FILLS, PRESETS
from cmgan.model.decoder import MaskedAttention
from cmgan.model.functional import WEIGHT_SPACE
from cmgan.model.generator import Generator
from cmgan.model.initialise import seeded_generator
from cmgan.model.layers import Conv, FullyConnected, ModulatedWeight, Noise
from tests.model.push_pull import push_pull
from tests.tolerances import tolerance

TINY = PRESETS["tiny-64"]


@pytest.fixture(scope="module")
def tiny() -> Generator:
    return seeded_generator(TINY).requires_grad_(False)


def case(batch: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Noise pictures, a ragged hole that covers some coarse positions wholly, z."""
    side = TINY.resolution
    mask = (torch.rand(batch, 1, side, side) < 0.3).to(dtype)
    mask[:, :, 8:40, 16:56] = 1
    image = torch.rand(batch, 3, side, side, dtype=dtype) * 2 - 1
    return image, mask, torch.randn(batch, TINY.z_dim, dtype=dtype)


def test_shape_and_features(tiny):
    image, mask, z = case(2)
    assert tiny(image, mask, z).shape == (2, 3, 64, 64)
    features = tiny.encoder(image, mask, tiny.ops)
    assert [f.shape[1:] for f in features] == [(TINY.channels(r), r, r) for r in (4, 8, 16, 32, 64)]


class Origins(TorchDispatchMode):
    """Which operations read a tensor that is neither given nor another operation's result."""

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self._known = {x.untyped_storage()._cdata: x for x in given}
        self.strange: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self.strange += [str(func) for x in read if x.untyped_storage()._cdata not in self._known]
        result = func(*args, **(kwargs or {}))
        self._known |= {x.untyped_storage()._cdata: x for x in tree_leaves(result) if isinstance(x, Tensor)}
        return result


@torch.no_grad()
def test_nothing_is_copied_from_the_host():
    """A CUDA graph could not capture it. On a device without memory, so that every tensor has an origin."""
    with torch.device("meta"):
        generator, given = Generator(TINY), case()
    with Origins(*given, *generator.parameters(), *generator.buffers()) as origins:
        generator(*given)
        assert origins.strange == []
        torch.tensor([1.0, 3.0], device="meta") + 1
        assert origins.strange


@pytest.mark.parametrize("batch", [1, 3])
def test_without_to_rgb_the_picture_is_push_pull(batch):
    generator = seeded_generator(TINY).double().requires_grad_(False)
    image, mask, z = case(batch, torch.float64)
    mask[0, :, :, 30:] = 1
    for cascade in generator.cascades:
        cascade.rgb.weight.zero_()
        cascade.rgb.bias.zero_()
    literal = [push_pull(*pair) for pair in zip(image.numpy(), mask.numpy()[:, 0] == 1, strict=True)]
    expected = torch.from_numpy(np.stack(literal))
    torch.testing.assert_close(generator(image, mask, z), expected, rtol=0, atol=tolerance("float64"))


def test_the_network_itself_gives_known_pixels_back(tiny):
    image, mask, z = case()
    raw = tiny(image, mask, z)
    assert torch.where(mask == 1, image, raw).equal(image)
    plain = seeded_generator(dataclasses.replace(TINY, fill="none"))
    assert not torch.where(mask == 1, image, plain(image, mask, z)).equal(image)


@pytest.mark.parametrize("fill", FILLS)
def test_with_everything_or_nothing_missing_the_picture_is_finite(fill):
    generator = seeded_generator(dataclasses.replace(TINY, fill=fill))
    image, mask, z = case(2)
    mask[0], mask[1] = 1, 0
    raw = generator(image, mask, z)
    assert raw.isfinite().all()
    if fill == "pyramid":
        assert raw[1].equal(image[1]) and not raw[0].eq(0).any()


def test_the_hole_is_not_looked_at(tiny):
    image, mask, z = case()
    other = torch.where(mask == 1, torch.rand_like(image) * 1000, image)
    assert not other.equal(image)
    assert tiny(other, mask, z).equal(tiny(image, mask, z))
    assert not tiny(torch.where(mask == 1, image, -image), mask, z).equal(tiny(image, mask, z))


def test_known_pixels_come_out_exactly(tiny):
    image, mask, z = case()
    done = tiny.complete(image, mask, z)
    assert torch.where(mask == 1, image, done).equal(image)
    assert torch.where(mask == 1, tiny(image, mask, z).clamp(-1, 1), done).equal(done)


def test_every_input_matters(tiny):
    image, mask, z = case()
    plain = tiny(image, mask, z)
    fewer = mask.clone()
    fewer[:, :, 20, 20] = 0
    for changed in [tiny(image, fewer, z), tiny(image, mask, -z), tiny(image * 0.5, mask, z)]:
        assert not changed.equal(plain)


def test_a_batch_is_its_pictures_one_by_one(tiny):
    image, mask, z = case(3)
    alone = torch.cat([tiny(image[i : i + 1], mask[i : i + 1], z[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(tiny(image, mask, z), alone, rtol=0, atol=tolerance("float32_batch"))


def test_both_spaces_agree_in_float64():
    generator = seeded_generator(TINY).double().requires_grad_(False)
    inputs = case(2, torch.float64)
    expected = generator(*inputs)
    generator.ops = WEIGHT_SPACE
    torch.testing.assert_close(generator(*inputs), expected, rtol=0, atol=tolerance("float64_network"))
    assert expected.dtype == torch.float64


def test_noise_is_constant_unless_asked_for(tiny):
    image, mask, z = case(2)
    assert tiny(image, mask, z).equal(tiny(image, mask, z))
    first, second = (tiny(image, mask, z, random_noise=True) for _ in range(2))
    assert not first.equal(second)
    same = tiny(image[:1].expand(2, -1, -1, -1), mask[:1].expand(2, -1, -1, -1), z[:1].expand(2, -1), random_noise=True)
    assert not same[0].equal(same[1])  # drawn for every picture of the batch


def test_the_picture_depends_on_every_weight_and_every_noise_map():
    generator = seeded_generator(TINY)
    state = generator.state_dict(keep_vars=True)
    for tensor in state.values():
        tensor.requires_grad_()
    raw = generator(*case(2))
    (raw * torch.randn_like(raw)).sum().backward()
    assert [name for name, tensor in state.items() if tensor.grad is None or not tensor.grad.any()] == []


@pytest.mark.check
def test_changing_any_weight_or_noise_map_changes_the_picture():
    generator, inputs = seeded_generator(TINY).requires_grad_(False), case()
    plain = generator(*inputs)
    for name, tensor in generator.state_dict().items():
        kept = tensor.clone()
        tensor.add_(0.1 * torch.randn_like(tensor))
        assert not generator(*inputs).equal(plain), f"{name} has no influence"
        tensor.copy_(kept)


def test_attention_stands_where_the_configuration_says():
    config = dataclasses.replace(TINY, attention_resolution=8)
    attended = [cascade.attention is not None for cascade in Generator(config).cascades]
    assert attended == [True, True, False, False, False]


# -- initialisations -------------------------------------------------------------------------------------------------


def test_seeded_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = seeded_generator(TINY, 5).state_dict()
    assert torch.get_rng_state().equal(state)
    torch.manual_seed(2)
    second, other = seeded_generator(TINY, 5).state_dict(), seeded_generator(TINY, 6).state_dict()
    assert all(first[name].equal(second[name]) for name in first)
    assert not any(first[name].equal(other[name]) for name in first)


def test_seeded_weights_have_no_zero_and_are_for_evaluation(tiny):
    assert not tiny.training
    assert [name for name, tensor in tiny.state_dict().items() if not tensor.all()] == []


@pytest.mark.parametrize(
    ("name", "seed"), [("tiny-64", 0), ("tiny-64", 1), ("mini-256", 0), ("small-512", 0), ("paper-256", 0)]
)
def test_seeded_output_has_the_deviation_of_a_picture(name, seed):
    config = PRESETS[name]
    side = config.resolution
    mask = torch.zeros(1, 1, side, side)
    mask[:, :, side // 4 : side // 2, side // 3 :] = 1
    with torch.inference_mode():
        raw = seeded_generator(config, seed)(torch.rand(1, 3, side, side) * 2 - 1, mask, torch.randn(1, config.z_dim))
    factor = tolerance("seeded_deviation")
    assert 0.4 / factor < raw.std().item() < 0.4 * factor


def test_training_starts_as_stylegan2_does():
    generator = Generator(TINY)
    assert generator.training
    for name, module in generator.named_modules():
        match module:
            case FullyConnected():
                assert module.bias.eq(module.bias_init / module.lr_multiplier).all(), name
                wanted = 1.0 if name.endswith(("affine", "alpha")) else 0.0
                assert module.bias_init == wanted, name
            case Conv() | ModulatedWeight():
                assert module.bias is None or not module.bias.any(), name
            case Noise():
                assert module.strength.item() == 0, name
            case MaskedAttention():
                assert module.gain.item() == 0, name
    weights = torch.cat(
        [p.flatten() for n, p in generator.named_parameters() if n.endswith("weight") and "mapping" not in n]
    )
    torch.testing.assert_close(weights.std(), torch.ones(()), rtol=0, atol=tolerance("sampled"))
