"""The comparer: everything that is not the same picture must fail."""

from __future__ import annotations

import numpy as np
import pytest

from cmgan.errors import ModelError
from cmgan.export.gate.cases import KEPT, load_cases, parity_cases, save_cases, thinned
from cmgan.export.gate.parity import Comparison, compare, summary
from cmgan.export.gate.tolerances import TOLERANCES, Tolerance

TOLERANCE = TOLERANCES["fp32"]


def _picture(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(seed).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    hole = np.zeros((2, 32, 32), bool)
    hole[:, 8:20, 8:20] = True
    return image, hole


def _raw() -> tuple[np.ndarray, np.ndarray]:
    raw = np.random.default_rng(1).standard_normal((2, 3, 32, 32), dtype=np.float32)
    return raw, _picture()[1]


def _failure(reference: np.ndarray, candidate: np.ndarray, hole: np.ndarray) -> str:
    return compare("case", reference, candidate, hole).failure(TOLERANCE)


@pytest.mark.parametrize("make", [_picture, _raw])
def test_equal_arrays_pass(make):
    reference, hole = make()
    assert _failure(reference, reference.copy(), hole) == ""


def test_one_nan_fails():
    reference, hole = _raw()
    candidate = reference.copy()
    candidate[0, 0, 0, 0] = np.nan
    assert "1 of 6144 values are not finite" in _failure(reference, candidate, hole)


def test_a_nan_in_both_fails():
    reference, hole = _raw()
    reference[0, 0, 0, 0] = np.nan
    assert "not finite" in _failure(reference, reference.copy(), hole)


@pytest.mark.parametrize("make", [_picture, _raw])
@pytest.mark.parametrize(
    "spoil",
    [
        np.zeros_like,
        lambda a: np.roll(a, 1, axis=2),
        lambda a: np.roll(a, 1, axis=1 if a.dtype == np.float32 else 3),
        lambda a: a[::-1],
    ],
    ids=["zeros", "shifted by a pixel", "swapped channels", "another sample"],
)
def test_another_picture_fails(make, spoil):
    reference, hole = make()
    assert _failure(reference, np.ascontiguousarray(spoil(reference)), hole) != ""


def test_two_levels_anywhere_in_the_hole_fail():
    reference, hole = _picture()
    candidate = reference.copy()
    candidate[0, 10, 10, 0] = reference[0, 10, 10, 0] ^ 2
    assert "max_abs is 2" in _failure(reference, candidate, hole)


def test_many_values_off_by_one_level_fail():
    reference, hole = _picture()
    reference = reference // 2
    candidate = reference.copy()
    candidate[:, 8, 8:20] += 1
    assert "equal" in _failure(reference, candidate, hole)


def test_an_error_that_only_the_hole_shows_fails():
    # A small hole, of which 1 value in 100 is off: 99.99 % of the whole picture is equal.
    reference = np.full((1, 512, 512, 3), 7, np.uint8)
    hole = np.zeros((1, 512, 512), bool)
    hole[:, :6, :6] = True
    candidate = reference.copy()
    candidate[0, 0, 0, 0] += 1
    assert "hole_equal" in _failure(reference, candidate, hole)


@pytest.mark.parametrize(("off", "passes"), [(1, True), (2, False)])
def test_one_value_in_a_hundred_may_be_three_levels_off_in_fp16(off, passes):
    reference = np.full((1, 20, 20, 3), 7, np.uint8)
    hole = np.zeros((1, 20, 20), bool)
    hole[:, :10, :10] = True  # 300 values
    candidate = reference.copy()
    candidate[0, 0, : 3 * off] += np.array([3, 0, 0], np.uint8)
    failure = compare("case", reference, candidate, hole).failure(TOLERANCES["fp16"])
    assert ("hole_near" in failure) != passes


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (np.zeros((0, 32, 32, 3), np.uint8), "shape"),
        (np.zeros((2, 3, 32, 32), np.uint8), "shape"),
        (np.zeros((2, 32, 32, 3), np.int64), "type"),
        (np.zeros((2, 32, 32, 3), np.float32), "type"),
    ],
)
def test_the_wrong_kind_of_array_fails(candidate, words):
    reference, hole = _picture()
    assert words in _failure(reference, candidate, hole)


def test_comparing_nothing_fails():
    reference, hole = _picture()
    assert "nothing to compare" in _failure(reference, reference, np.zeros_like(hole))
    assert "nothing to compare" in _failure(reference[:0], reference[:0], hole[:0])
    with pytest.raises(ValueError, match="no comparison"):
        summary([])


def test_the_numbers_are_those_of_their_definition():
    reference, hole = _raw()
    candidate = reference + np.float32(0.5) * hole[:, None]
    seen = compare("case", reference, candidate, hole)
    inside = np.abs(candidate.astype(np.float64) - reference)[np.repeat(hole[:, None], 3, 1)]
    assert seen.hole_mean_abs == inside.mean()
    assert seen.hole_max_abs == inside.max()
    assert seen.mean_abs == pytest.approx(inside.mean() * hole.mean())
    assert seen.hole_psnr == pytest.approx(10 * np.log10(4 / np.square(inside).mean()))


def test_both_a_maximum_and_a_mean_must_hold():
    good = Comparison("case", "float32", 1e-6, 1e-7, 1e-6, 1e-7, 0, 0, 0, 120.0)
    loose = Tolerance(max_abs=1.0, mean_abs=1e-9, levels=1, equal=1.0)
    assert good.failure(TOLERANCE) == ""
    assert "mean_abs" in good.failure(loose)


def test_the_cases_are_what_their_names_say():
    cases = {case.name: case for case in parity_cases(64, 8)}
    share = {name: (case.mask >= 128).mean() for name, case in cases.items()}
    assert set(cases) == {"thin", "large", "border", "most", "saturated", "noise"}
    assert share["thin"] < 0.1 < share["large"] < 0.6
    assert 0.9 < share["most"] < 1
    assert cases["border"].mask[0].all() and cases["border"].mask[:, -1].all()
    assert set(np.unique(cases["saturated"].image)) == {0, 255}
    for case in cases.values():
        assert case.image.shape == (64, 64, 3) and case.image.dtype == np.uint8 and case.z.shape == (8,)


def test_the_parity_file_gives_back_what_it_was_given(tmp_path):
    cases = parity_cases(64, 8)
    raws = [np.random.default_rng(i).standard_normal((3, 64, 64), dtype=np.float32) for i in range(len(cases))]
    save_cases(tmp_path / "parity.npz", cases, raws, "abc")
    loaded = load_cases(tmp_path / "parity.npz")
    assert tuple(case.name for case in loaded.cases) == KEPT and loaded.weights_sha256 == "abc"
    for case, output in zip(loaded.cases, loaded.outputs, strict=True):
        original = next(i for i, c in enumerate(cases) if c.name == case.name)
        np.testing.assert_array_equal(case.image, cases[original].image)
        np.testing.assert_array_equal(output, thinned(raws[original]))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no archive at all"])
def test_a_spoilt_parity_file_is_refused(tmp_path, data):
    (tmp_path / "parity.npz").write_bytes(data)
    with pytest.raises(ModelError, match="parity file"):
        load_cases(tmp_path / "parity.npz")
