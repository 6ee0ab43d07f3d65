"""The processes that train together, as `torchrun` starts them: one a GPU, or several on a CPU."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cmgan.errors import DeadlineError, MissingError, NumbersError

PATIENCE = timedelta(minutes=5)  # that a process waits for the others


@dataclass(frozen=True)
class World:
    """This process among the others. Alone, every method is cheap and changes nothing."""

    rank: int
    size: int
    device: torch.device

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module whose backward pass averages the gradients over the processes."""
        if self.size == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, ids, broadcast_buffers=False, gradient_as_bucket_view=True)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, elementwise; in place."""
        if self.size > 1:
            with _patience():
                dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        self.sum(torch.zeros(1, device=self.device))

    def check_agreement(self, digest: str) -> None:
        """Raise NumbersError unless all processes hold the same digest: their weights drifted apart."""
        if self.size == 1:
            return
        digests: list[str | None] = [None] * self.size
        with _patience():
            dist.all_gather_object(digests, digest)
        odd = [str(rank) for rank, other in enumerate(digests) if other != digests[0]]
        if odd:
            message = f"the weights of rank {', '.join(odd)} are not those of rank 0; nothing is saved"
            raise NumbersError("ranks_disagree", f"{message}; resume from the last checkpoint")


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun's environment names; `device` is cpu, cuda, or auto.

    Raises:
        MissingError: cuda without a CUDA device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError("device", "run.device is cuda and PyTorch sees none here; run.device=cpu trains slowly")
    size, rank, local = (int(os.environ.get(name, low)) for name, low in _TORCHRUN)
    here = torch.device(device, local) if device == "cuda" else torch.device("cpu")
    if here.type == "cuda":
        torch.cuda.set_device(here)
    if size > 1:
        dist.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(rank, size, here)
    finally:
        if size > 1:
            gc.collect()  # of what holds the group in cycles: its threads must end before the interpreter does
            dist.destroy_process_group()


_TORCHRUN = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


@contextmanager
def _patience() -> Iterator[None]:
    try:
        yield
    except dist.DistError as error:
        minutes = PATIENCE.total_seconds() / 60
        message = f"another process did not answer within {minutes:.0f} minutes or died; start the run again"
        raise DeadlineError("rank_lost", message) from error
