"""Pictures of any size through an engine of one: what is known stays, what is hole is painted, seeds repeat."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cmgan.errors import UsageError
from cmgan.inpaint.inpainter import Inpainter, InpaintOptions, LazyEngine, check_seed
from cmgan.inpaint.job import Job, JobOptions, fill
from cmgan.inpaint.strategies import STRATEGIES
from cmgan.runtime.engine import EngineInfo, check_inputs
from tests.hostile.generate import photo


class MeanEngine:
    """Paints each hole in the mean of the known pixels, shifted by z: simple, and different for every input."""

    def __init__(self, resolution=32):
        self.info = EngineInfo("test", "mean", resolution, 4, "fp32", trained=False, weights_sha256="")
        self.batches = []

    def __call__(self, image, mask, z):
        check_inputs(self.info, image, mask, z)
        self.batches.append(len(image))
        output = image.copy()
        for picture, hole, noise in zip(output, mask >= 128, z, strict=True):
            known = picture[~hole] if not hole.all() else np.full((1, 3), 128)
            picture[hole] = np.clip(known.mean(axis=0) + 20 * noise[:3], 0, 255)
        return output


class FlatEngine(MeanEngine):
    """Answers 200 everywhere, outside the hole, too: what is known must not depend on the engine's manners."""

    def __call__(self, image, mask, z):
        return np.full_like(image, 200)


def box_hole(shape, *boxes):
    hole = np.zeros(shape, bool)
    for y, x, height, width in boxes:
        hole[y : y + height, x : x + width] = True
    return hole


a_photo = functools.cache(photo)
ALL = pytest.mark.parametrize("hd", STRATEGIES)


@ALL
class TestEveryStrategy:
    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(st.tuples(st.integers(1, 200), st.integers(1, 200)), st.integers(0, 99), st.sampled_from([0.001, 0.1, 0.9]))
    def test_hole_is_painted_and_known_is_untouched(self, hd, shape, seed, share):
        rng = np.random.default_rng(seed)
        image = rng.integers(0, 100, (*shape, 3), dtype=np.uint8)
        hole = rng.random(shape) < share
        hole[rng.integers(shape[0]), rng.integers(shape[1])] = True
        before = image.copy()
        output = Inpainter(FlatEngine(), InpaintOptions(strategy=hd, crop_margin=9, overlap=10))(image, hole)
        assert (image == before).all()
        assert (output[~hole] == image[~hole]).all()
        assert (output[hole] == 200).all()

    @pytest.mark.parametrize("size", [(17, 100), (513, 511), (4000, 3000)])
    def test_sizes(self, hd, size):
        image = a_photo(*size)
        hole = box_hole(image.shape[:2], (3, 10, 7, 60), (300, 200, 40, 250), (2000, 700, 400, 900))
        output = Inpainter(MeanEngine(512), InpaintOptions(strategy=hd))(image, hole, seed=5)
        assert output.shape == image.shape and output.dtype == np.uint8
        changed = (output != image).any(axis=-1)
        assert not changed[~hole].any() and changed[hole].mean() > 0.9

    def test_same_seed_same_bytes(self, hd):
        image, hole = photo(90, 70), box_hole((70, 90), (5, 5, 30, 50))
        inpainter = Inpainter(MeanEngine(), InpaintOptions(strategy=hd, overlap=8))
        first, again, other = (inpainter(image, hole, seed) for seed in (1, 1, 2))
        assert (first == again).all() and (first != other).any()

    def test_batch_size_changes_nothing(self, hd):
        image = photo(300, 280)
        hole = box_hole((280, 300), (5, 5, 40, 8), (200, 20, 9, 9), (100, 180, 60, 90))
        pictures = []
        for batch in (1, 3, 100):
            engine = MeanEngine()
            options = InpaintOptions(strategy=hd, crop_margin=4, overlap=8, batch=batch)
            pictures.append(Inpainter(engine, options)(image, hole))
            assert max(engine.batches) <= batch
        assert (pictures[0] == pictures[1]).all() and (pictures[0] == pictures[2]).all()

    def test_uint8_masks_follow_the_mask_rule(self, hd):
        image = photo(50, 40)
        mask = np.arange(2000).reshape(40, 50).astype(np.uint8)
        inpainter = Inpainter(MeanEngine(), InpaintOptions(strategy=hd, overlap=8))
        assert (inpainter(image, mask) == inpainter(image, mask >= 128)).all()

    def test_whole_picture(self, hd):
        output = Inpainter(FlatEngine(), InpaintOptions(strategy=hd, overlap=8))(photo(70, 50), np.ones((50, 70), bool))
        assert (output == 200).all()

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_flat_pictures(self, hd, level):
        image, hole = np.full((60, 80, 3), level, np.uint8), box_hole((60, 80), (5, 5, 30, 40))
        output = Inpainter(MeanEngine(), InpaintOptions(strategy=hd, overlap=8))(image, hole)
        assert (output[~hole] == level).all()

    def test_threads_share_one_inpainter(self, hd):
        image, hole = photo(90, 70), box_hole((70, 90), (5, 5, 30, 50))
        opened = []

        def open_slowly():
            opened.append(MeanEngine())
            return opened[-1]

        serial = [
            Inpainter(MeanEngine(), InpaintOptions(strategy=hd, overlap=8))(image, hole, seed) for seed in range(64)
        ]
        inpainter = Inpainter(LazyEngine(open_slowly), InpaintOptions(strategy=hd, overlap=8))
        with ThreadPoolExecutor(64) as pool:
            parallel = list(pool.map(lambda seed: inpainter(image, hole, seed), range(64)))
        assert all((a == b).all() for a, b in zip(serial, parallel, strict=True))
        assert len(opened) == 1


class TestEmptyMask:
    def test_the_engine_is_not_even_opened(self, caplog):
        def never():
            raise AssertionError("opened")

        image = photo(40, 30)
        output = Inpainter(LazyEngine(never))(image, np.zeros((30, 40), bool))
        assert (output == image).all() and output is not image
        assert [record.slug for record in caplog.records] == ["mask_empty"]


class TestSamples:
    def test_each_is_that_of_its_seed(self):
        image, hole = photo(50, 40), box_hole((40, 50), (5, 5, 20, 20))
        inpainter = Inpainter(MeanEngine())
        samples = list(fill(inpainter, Job(image, hole, options=JobOptions(seed=7, samples=3))))
        assert all((s.picture.rgb == inpainter(image, hole, 7 + i)).all() for i, s in enumerate(samples))
        assert len({s.picture.rgb.tobytes() for s in samples}) == 3

    def test_noise_is_what_numpy_documents(self):
        seen = []

        class Recorder(MeanEngine):
            def __call__(self, image, mask, z):
                seen.append(z)
                return super().__call__(image, mask, z)

        hole = box_hole((300, 300), (5, 5, 9, 9), (250, 250, 9, 9))
        Inpainter(Recorder(), InpaintOptions(crop_margin=4))(photo(300, 300), hole, seed=2**63 - 1)
        expected = np.random.Generator(np.random.PCG64(2**63 - 1)).standard_normal(4, dtype=np.float32)
        assert seen[0].dtype == np.float32 and seen[0].shape == (2, 4)
        assert (seen[0] == expected).all()

    @pytest.mark.parametrize("seed", [-1, 2**63, 2**64, "abc", 1.0, None])
    def test_bad_seeds(self, seed):
        with pytest.raises(UsageError, match=r"seed .*; a whole number from 0 to 2\*\*63 - 1"):
            check_seed(seed)


class TestTile:
    def test_coarse_pass_only_where_tiles_meet(self):
        for hole, calls in (((5, 5, 9, 9), 1), ((5, 5, 60, 60), 1 + 9)):
            engine = MeanEngine()
            Inpainter(engine, InpaintOptions(strategy="tile", overlap=8, batch=1))(
                photo(80, 80), box_hole((80, 80), hole)
            )
            assert len(engine.batches) == calls

    def test_every_tile_sees_something_known(self):
        """Even in the middle of a hole much larger than the engine: there it is what was painted before."""
        known = []

        class Recorder(MeanEngine):
            def __call__(self, image, mask, z):
                known.extend(np.count_nonzero(mask < 128, axis=(1, 2)))
                return super().__call__(image, mask, z)

        image, hole = photo(200, 200), box_hole((200, 200), (20, 20, 160, 160))
        Inpainter(Recorder(), InpaintOptions(strategy="tile", overlap=8))(image, hole)
        assert len(known) > 1 and min(known) == 32 * 32 - 28 * 28  # a rim of two pixels


class TestEdges:
    def test_dilate_widens_the_hole(self):
        image, hole = photo(60, 50) // 2, box_hole((50, 60), (20, 20, 5, 5))
        output = Inpainter(FlatEngine(), InpaintOptions(dilate=3))(image, hole)
        assert ((output == 200).all(axis=-1) == box_hole((50, 60), (17, 17, 11, 11))).all()

    def test_feather_fades_inside_the_hole(self):
        image, hole = np.zeros((50, 60, 3), np.uint8), box_hole((50, 60), (10, 10, 20, 20))
        output = Inpainter(FlatEngine(), InpaintOptions(feather=3))(image, hole)
        assert output[20, 8:16, 0].tolist() == [0, 0, 50, 100, 150, 200, 200, 200]


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [("crop_margin", -1), ("overlap", -1), ("dilate", -1), ("dilate", 1025), ("feather", -2), ("batch", 0)],
    )
    def test_options_out_of_range(self, name, value):
        with pytest.raises(UsageError, match=f"{name} is {value}"):
            InpaintOptions(**{name: value})

    def test_the_usual_overlap_fits_every_engine(self):
        image, hole = photo(80, 80), box_hole((80, 80), (5, 5, 60, 60))
        output = Inpainter(FlatEngine(32), InpaintOptions(strategy="tile"))(image, hole)
        assert (output[hole] == 200).all() and (output[~hole] == image[~hole]).all()

    def test_unknown_strategy(self):
        with pytest.raises(UsageError, match="'best'; known are crop, resize, original, tile"):
            InpaintOptions(strategy="best")

    def test_overlap_beyond_the_engine(self):
        inpainter = Inpainter(MeanEngine(), InpaintOptions(strategy="tile", overlap=17))
        with pytest.raises(UsageError, match="overlap 17; at most half the engine's 32"):
            inpainter(photo(50, 40), box_hole((40, 50), (5, 5, 9, 9)))

    @pytest.mark.parametrize(
        ("image", "mask", "what"),
        [
            (np.zeros((40, 50, 4), np.uint8), np.zeros((40, 50), bool), "image is uint8"),
            (np.zeros((40, 50, 3), np.float32), np.zeros((40, 50), bool), "image is float32"),
            (np.zeros((0, 50, 3), np.uint8), np.zeros((0, 50), bool), "image is uint8"),
            (np.zeros((40, 50, 3), np.uint8), np.zeros((50, 40), bool), "mask is bool"),
            (np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.float32), "mask is float32"),
        ],
    )
    def test_arrays(self, image, mask, what):
        with pytest.raises(UsageError, match=what):
            Inpainter(MeanEngine())(image, mask)


class TestGiven:
    def test_files_and_pil_images(self, tmp_path):
        image, hole = photo(50, 40), box_hole((40, 50), (5, 5, 9, 9))
        inpainter = Inpainter(MeanEngine())
        expected = inpainter(image, hole, 3)
        Image.fromarray(image).save(tmp_path / "image.png")
        Image.fromarray(hole).save(tmp_path / "mask.png")
        assert (inpainter(str(tmp_path / "image.png"), tmp_path / "mask.png", 3) == expected).all()
        assert (inpainter(Image.fromarray(image), Image.fromarray(hole), 3) == expected).all()

    def test_a_model_by_its_name(self):
        pytest.importorskip("onnxruntime")
        with Inpainter("photos-256") as inpainter:
            assert inpainter.engine.info.name

    def test_a_model_that_is_none(self):
        with pytest.raises(UsageError, match="no model's name"):
            Inpainter("no-such-model")
        with pytest.raises(UsageError, match="model is a int; the name of a model, a path or an engine") as caught:
            Inpainter(7)
        assert caught.value.slug == "model_type"


@ALL
@pytest.mark.parametrize("grey", [False, True])
def test_a_picture_without_colour_gets_none(hd, grey):
    """The engine shifts each channel by another random number."""
    image = a_photo(90, 70)
    image = image[..., :1].repeat(3, axis=2) if grey else image
    hole = box_hole(image.shape[:2], (20, 30, 25, 25))
    painted = Inpainter(MeanEngine(), InpaintOptions(hd, overlap=10, feather=3))(image, hole)[hole]
    assert (painted == painted[:, :1]).all() == grey
