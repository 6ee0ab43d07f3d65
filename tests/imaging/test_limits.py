"""Limits come from defaults, variables and arguments, and are never switched off."""

import pytest

from cmgan.errors import UsageError
from cmgan.imaging.limits import Limits


def test_defaults():
    limits = Limits.from_environment({})
    assert limits == Limits()
    assert (limits.max_file_bytes, limits.max_pixels, limits.max_side, limits.max_aspect) == (
        134_217_728,
        67_108_864,
        16_384,
        32,
    )


def test_arguments_override_variables():
    environment = {"CMGAN_MAX_PIXELS": "1000", "CMGAN_MAX_SIDE": "77"}
    limits = Limits.from_environment(environment, max_pixels=2000, max_aspect=None)
    assert (limits.max_pixels, limits.max_side, limits.max_aspect) == (2000, 77, 32)


@pytest.mark.parametrize("value", ["abc", "-1", "0", "", "1.5", "1e9", "\u0663", " 5", "9" * 5000])
@pytest.mark.parametrize("variable", ["CMGAN_MAX_PIXELS", "CMGAN_MAX_FILE_BYTES", "CMGAN_MAX_SIDE", "CMGAN_MAX_ASPECT"])
def test_bad_variables_are_named(variable, value):
    with pytest.raises(UsageError, match=variable) as caught:
        Limits.from_environment({variable: value})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["max_file_bytes", "max_pixels", "max_side", "max_aspect"])
@pytest.mark.parametrize("value", [0, -3])
def test_zero_is_not_unlimited(name, value):
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        Limits(**{name: value})


def test_unknown_format():
    with pytest.raises(UsageError, match="'psd'; known are png"):
        Limits(formats=("png", "psd"))
