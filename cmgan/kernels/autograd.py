"""Gradients of every op here: those of its composite, in differentiable operations, so of any order."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cmgan.kernels.launch import kernel_runs, launches


def op(name: str, composite: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Register a launcher as `cmgan::name`: it runs where kernels can, its composite elsewhere and in the backward.

    The composite takes the op's arguments, the first of them a tensor. Tracers see the op, or, through it, the kernel
    on a GPU and the composite on a CPU; there is one definition of the maths. The schema is the launcher's signature.
    """

    def register(launcher: Callable[..., Any]) -> Any:
        signature = inspect.signature(launcher)

        @functools.wraps(launcher)
        def body(*given: Any, **named: Any) -> Any:
            bound = signature.bind(*given, **named)  # PyTorch leaves arguments out that have their default
            bound.apply_defaults()
            arguments = bound.args
            if not kernel_runs(arguments[0]):
                return composite(*arguments)
            launches[name] += 1
            with torch.cuda.device_of(arguments[0]):  # Triton launches on the current device, whatever it is given
                return launcher(*arguments)

        registered: Any = torch.library.triton_op(f"cmgan::{name}", body, mutates_args=())
        registered.register_autograd(_backward(composite), setup_context=_save_inputs)
        return registered

    return register


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(x for x in inputs if isinstance(x, Tensor)))
    ctx.settings = [None if isinstance(x, Tensor) else (x,) for x in inputs]


def _backward(composite: Callable[..., Any]) -> Callable[..., Any]:
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        arguments = [next(saved) if setting is None else setting[0] for setting in ctx.settings]
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]

        def of_wanted(*values: Tensor) -> Any:
            chosen = dict(zip(wanted, values, strict=True))
            return composite(*(chosen.get(i, argument) for i, argument in enumerate(arguments)))

        pull = torch.func.vjp(of_wanted, *(arguments[i] for i in wanted))[1]
        found = dict(zip(wanted, pull(gradients[0] if len(gradients) == 1 else gradients), strict=True))
        return tuple(found.get(i) for i in range(len(arguments)))

    return backward
