"""Configuration files: what they may hold, how the command line overrides them, what differs between two."""

from dataclasses import asdict, fields

import pytest

from cmgan.errors import UsageError
from cmgan.train.config import TrainConfig, differences, load_config, load_recipe, to_toml

LEAST = ["model.preset=tiny-64", "data.path=photos"]


def refusal(*overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(None, [*LEAST, *overrides])
    return str(caught.value)


def test_printed_configuration_is_read_back(tmp_path):
    config = load_config(None, [*LEAST, "loop.batch=3", "loss.perceptual=0.25", "run.tensorboard=true"])
    file = tmp_path / "run.toml"
    file.write_text(to_toml(config))
    assert load_config(file) == config


def test_every_field_can_be_overridden(tmp_path):
    """The text of every field of another configuration, given on the command line, makes that configuration."""
    other = load_config(None, [*LEAST, "data.path=a=b c", "loss.adversarial=hinge", "optimiser.beta1=0.5"])
    texts = []
    for section, values in asdict(other).items():
        texts += [f"{section}.{name}={str(v).lower() if v is True or v is False else v}" for name, v in values.items()]
    assert len(texts) == sum(len(fields(getattr(other, s.name))) for s in fields(TrainConfig))
    assert load_config(None, texts) == other


def test_overrides_win_over_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[model]\npreset = "tiny-64"\n[data]\npath = "here"\n[optimiser]\nlearning_rate = 1\n')
    config = load_config(file, ["data.path=there"])
    assert config.data.path == "there"
    assert config.optimiser.learning_rate == 1.0


def test_unknown_names_are_refused_with_the_nearest():
    assert "did you mean batch?" in refusal("loop.bach=3")
    assert "did you mean loss?" in refusal("losses.l1_hole=3")


def test_values_of_another_type_or_beyond_a_limit_are_refused(tmp_path):
    assert "loop.batch is 3.5; a whole number" in refusal("loop.batch=3.5")
    assert "loop.batch is 0; a number of at least 1" in refusal("loop.batch=0")
    assert "resolution 100: a power of two" in refusal("model.resolution=100")
    assert "run.tensorboard is yes; true or false" in refusal("run.tensorboard=yes")
    assert "loss.perceptual is nan" in refusal("loss.perceptual=nan")
    assert "optimiser.beta2 is 1.0; below 1" in refusal("optimiser.beta2=1")
    assert "one of non-saturating, hinge, wasserstein" in refusal("loss.adversarial=lsgan")
    assert "SECTION.FIELD=VALUE" in refusal("batch=3")
    file = tmp_path / "run.toml"
    file.write_text('[loop]\nbatch = "3"\n')
    with pytest.raises(UsageError, match=r"loop\.batch is 3; a whole number"):
        load_config(file)


def test_files_that_are_none_are_refused(tmp_path):
    file = tmp_path / "run.toml"
    with pytest.raises(UsageError, match="No such file"):
        load_config(file)
    file.write_text("[loop\n")
    with pytest.raises(UsageError, match="no TOML"):
        load_config(file)
    file.write_text("batch = 3\n")
    with pytest.raises(UsageError, match="outside any section"):
        load_config(file)


def test_stages_go_over_the_sections_and_overrides_over_both(tmp_path):
    file = tmp_path / "recipe.toml"
    base = '[model]\npreset = "tiny-64"\n[data]\npath = "here"\n[loop]\nbatch = 3\nseed = 7\n'
    file.write_text(f'{base}[[stages]]\nname = "a"\nloop.batch = 5\nmodel.resolution = 32\n[[stages]]\nname = "b"\n')
    first, second = load_recipe(file, ["loop.seed=8"])
    assert (first.name, second.name) == ("a", "b")
    assert [stage.config.loop.batch for stage in (first, second)] == [5, 3]
    assert [stage.config.generator.resolution for stage in (first, second)] == [32, 64]
    assert [stage.config.loop.seed for stage in (first, second)] == [8, 8]
    file.write_text(base)
    (alone,) = load_recipe(file)
    assert alone.config == load_config(file)


def test_stages_without_names_of_their_own_are_refused(tmp_path):
    file = tmp_path / "recipe.toml"
    for name in ("", 'name = "a"\n[[stages]]\nname = "a"', "name = 3", 'name = "../a"'):
        file.write_text(f"[[stages]]\n{name}\n")
        with pytest.raises(UsageError, match="a name of its own"):
            load_recipe(file, LEAST)
    for text, words in (("stages = 3", "no list of stages"), ('[[stages]]\nname = "a"\nbatch = 3', "outside any")):
        file.write_text(text + "\n")
        with pytest.raises(UsageError, match=words):
            load_recipe(file, LEAST)


def test_the_least_that_is_needed():
    with pytest.raises(UsageError, match=r"model\.preset is missing"):
        load_config(None, ["data.path=x"])
    with pytest.raises(UsageError, match=r"data\.path is missing"):
        load_config(None, ["model.preset=tiny-64"])


def test_differences_leave_out_what_changes_no_number():
    config = load_config(None, LEAST)
    assert differences(asdict(config), load_config(None, [*LEAST, "run.keep=7", "run.workers=0"])) == []
    found = differences(asdict(config), load_config(None, [*LEAST, "loop.seed=7", "data.path=other"]))
    assert found == ["data.path 'photos' -> 'other'", "loop.seed 0 -> 7"]
