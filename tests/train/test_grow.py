"""A grown model paints what the small one paints, enlarged."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from cmgan.config import PRESETS
from cmgan.model.functional import enlarge, fill, known_pyramid
from cmgan.model.generator import Generator
from cmgan.model.initialise import seeded_generator
from cmgan.model.weights import save_generator
from cmgan.train.data.batches import batches
from cmgan.train.grow import fit_encoder, grown
from cmgan.train.inputs import open_inputs
from cmgan.train.networks import Networks
from cmgan.train.steps import Batch
from tests.tolerances import tolerance
from tests.train.runs import ALONE, small

HALF = dataclasses.replace(PRESETS["tiny-64"], resolution=32)


@pytest.fixture(scope="module")
def little() -> Generator:
    return seeded_generator(HALF, 3).requires_grad_(False)


def pairs(count: int) -> list[Batch]:
    config = small("loop.batch=4")
    found = batches(open_inputs(config)[0], 4, epochs=None)
    return [Batch.of(sample, ALONE.device) for sample in itertools.islice(found, count)]


def enlarged(little: Generator, image: Tensor, mask: Tensor, z: Tensor) -> Tensor:
    """The small model's picture of the picture at half the size, enlarged, with the known pixels."""
    average, known = known_pyramid(image, mask)[-2]
    picture = little(average, (~known).float(), z)
    return torch.where(mask > 0.5, enlarge(picture), image)


def error(large: Generator, little: Generator, batch: Batch) -> float:
    """Of the grown model's picture in the hole, a share of what the small one adds to the fill there."""
    z = torch.randn(len(batch.image), HALF.z_dim)
    hole = (batch.mask > 0.5).expand_as(batch.image)
    expected = enlarged(little, batch.image, batch.mask, z)
    plain = fill(known_pyramid(batch.image, batch.mask), enlarge)[-1]
    found = large(batch.image, batch.mask, z)
    return float((found - expected)[hole].square().mean().sqrt() / (expected - plain)[hole].square().mean().sqrt())


@torch.no_grad()
def test_given_the_small_encoders_features_the_picture_is_the_small_ones_enlarged(little):
    large = grown(little).eval()
    (batch,) = pairs(1)
    z = torch.randn(4, HALF.z_dim)
    average, known = known_pyramid(batch.image, batch.mask)[-2]
    filled = fill(known_pyramid(batch.image, batch.mask)[:-1], enlarge)[-1]
    features = little.encoder(filled, (~known).float(), little.ops)
    finest = torch.zeros(4, large.config.channels(64), 64, 64)
    large.encoder.forward = lambda *_: [*features, finest]  # type: ignore[method-assign]
    expected = enlarged(little, batch.image, batch.mask, z)
    torch.testing.assert_close(large(batch.image, batch.mask, z), expected, rtol=0, atol=tolerance("float32_batch"))


@pytest.mark.check
def test_with_its_encoder_fitted_the_picture_is_nearly_the_small_ones(little):
    torch.manual_seed(0)
    large = grown(little)
    (batch,) = pairs(1)
    with torch.no_grad():
        before = error(large.eval(), little, batch)
    untouched = {name: value.clone() for name, value in large.state_dict().items() if "encoder" not in name}
    left = fit_encoder(large, little, [(b.image, b.mask) for b in pairs(200)])
    with torch.no_grad():
        after = error(large, little, batch)
    assert left < 0.5
    assert after < tolerance("grown") and after < before / 2
    assert all(value.equal(large.state_dict()[name]) for name, value in untouched.items())


def test_a_run_grows_what_it_starts_from(little, tmp_path):
    save_generator(little, tmp_path / "little", trained=True, licence="none")
    networks = Networks(small(f"model.start={tmp_path / 'little'}"), ALONE.device)
    assert networks.generator.config == PRESETS["tiny-64"]
    assert networks.generator.cascades[1].spatial_block.first.weight.equal(
        little.cascades[1].spatial_block.first.weight
    )
    assert networks.generator.encoder.blocks[2].local_to_local.weight.equal(
        little.encoder.blocks[1].local_to_local.weight
    )
    assert not networks.generator.cascades[-1].rgb.weight.any()
