"""A model whose weights overflow paints nothing: exit 7 and no file."""

from __future__ import annotations

import copy

import pytest
import torch

from cmgan.model.weights import save_generator


@pytest.fixture(scope="module")
def spoilt_folder(tiny_source, tmp_path_factory):
    generator = copy.deepcopy(tiny_source.generator)
    with torch.no_grad():
        weight = generator.get_parameter("cascades.4.rgb.weight")
        weight.div_(weight.abs().max()).mul_(3e38)
    folder = tmp_path_factory.mktemp("folder") / "spoilt"
    save_generator(generator, folder, trained=True, licence="")
    return folder


def test_the_command_ends_with_7_and_no_file(spoilt_folder, photo, mask, refused, tmp_path):
    ending = refused(7, "inpaint", photo, mask, "-o", tmp_path / "out.png", "--model", spoilt_folder)
    assert ending.slug == "non_finite" and "RuntimeWarning" not in ending.err
