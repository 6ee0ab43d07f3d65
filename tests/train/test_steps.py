"""One step of training: what it leaves alone, and that the host need not wait for it."""

import copy
from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters

from cmgan.train.data.batches import batches
from cmgan.train.distributed import World
from cmgan.train.inputs import open_inputs
from cmgan.train.networks import Networks
from cmgan.train.steps import Batch, Stepper, uses_bfloat16
from tests.tolerances import tolerance
from tests.train.runs import ALONE, small
from tools.penalty_cost import Operators

PENALISED = 2  # of the steps of `small`, R1 and path length in it
PLAIN = 3


class Reads(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes every number that is read back from the device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.name() in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero"):
            self.found.append(func.name())
        return func(*args, **(kwargs or {}))


def test_bfloat16_is_chosen_where_the_machine_multiplies_it(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for native in (True, False):
        monkeypatch.setattr("cmgan.train.steps.computes_bf16", lambda native=native: native)
        assert uses_bfloat16("auto", cpu) is native and uses_bfloat16("auto", cuda)
        assert uses_bfloat16("on", cpu) and not uses_bfloat16("off", cuda)


def prepared(world: World = ALONE, *overrides: str) -> tuple[Stepper, Batch]:
    config = small(*overrides)
    samples, _ = open_inputs(config)
    sample = next(iter(batches(samples, config.pictures_a_step)))
    return Stepper(config, Networks(config, world.device), world), Batch.of(sample, world.device)


@pytest.mark.parametrize("wasserstein", [False, pytest.param(True, marks=pytest.mark.check)])
def test_nothing_is_read_back_from_the_device(wasserstein):
    stepper, batch = prepared(ALONE, *(["loss.adversarial=wasserstein"] if wasserstein else []))
    with Reads() as reads:
        _, finite = stepper.step(PENALISED, batch)
    assert reads.found == []
    assert finite
    with Reads() as reads:
        bool(finite)
    assert reads.found  # so it notices what it should


@pytest.mark.gpu
def test_a_gpu_is_never_waited_for():
    world = World(0, 1, torch.device("cuda", 0))
    stepper, batch = prepared(world)
    stepper.step(PENALISED, batch)  # which allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        stepper.step(PLAIN, batch)
        stepper.step(PENALISED, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_network_without_a_finite_gradient_stays_as_it_is():
    """Weights, moments and Adam's count of steps; the other network moves on."""
    stepper, batch = prepared()
    networks = stepper.networks
    stepper.step(PLAIN, batch)
    weight = networks.discriminator.score.bias
    hook = weight.register_hook(lambda gradient: gradient * float("nan"))
    before = copy.deepcopy((networks.model_tensors(), networks.optimiser_tensors()))
    _, finite = stepper.step(PLAIN + 2, batch)
    hook.remove()
    assert not finite
    for old, new in zip(before, (networks.model_tensors(), networks.optimiser_tensors()), strict=True):
        moved = {name.partition(".")[0] for name in old if not torch.equal(old[name], new[name])}
        assert "generator" in moved and "discriminator" not in moved
    _, finite = stepper.step(PLAIN + 4, batch)
    assert finite
    assert not torch.equal(weight, before[0]["discriminator.score.bias"])


def test_penalised_steps_use_the_cheap_second_derivatives():
    """318 convolutions without penalties; with PyTorch's second derivatives, R1 and path lengths take 998 here."""
    stepper, batch = prepared()
    counts = []
    for number in (PLAIN, PENALISED):
        with Operators() as count:
            stepper.step(number, batch)
        counts.append(count.convolutions)
    assert counts[1] < 2.5 * counts[0]


@pytest.mark.check
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo looks, we do not
def test_compiled_networks_take_the_same_step(monkeypatch):
    """Traced forward and backward, without and with penalties; the traced operations run as they are, for Inductor's
    C++ takes many minutes and draws other noise."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    found = []
    for compiled in ("false", "true"):
        stepper, batch = prepared(ALONE, "loop.autocast=off", f"loop.compile={compiled}")
        terms = [stepper.step(number, batch)[0] for number in (PLAIN, PENALISED, PLAIN + 2)]
        found.append(torch.stack([value for step in terms for value in step.values()]))
    assert any(count for count in counters["frames"].values())
    assert (found[0] - found[1]).abs().max() < tolerance("float32_batch")
