"""The bounds checker finds faults; without that, its silence would mean nothing."""

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.errors import InterpreterError


@triton.jit
def careless_kernel(x_ptr, y_ptr, n, SIZE: tl.constexpr, MASKED: tl.constexpr):
    i = tl.arange(0, SIZE)
    x = tl.load(x_ptr + i, mask=i < n) if MASKED else tl.load(x_ptr + i)
    tl.store(y_ptr + i, x, mask=i < n)


def test_reads_beyond_the_end_are_found(checker):
    x, y = torch.ones(100), torch.zeros(100)
    careless_kernel[(1,)](x, y, 100, SIZE=128, MASKED=True)
    assert checker.lanes == 200
    with pytest.raises(InterpreterError, match="28 lanes out of bounds"):
        careless_kernel[(1,)](x, y, 100, SIZE=128, MASKED=False)


def test_writes_beyond_a_view_are_found():
    x, y = torch.ones(100), torch.zeros(100)[:99]
    with pytest.raises(InterpreterError, match="1 lanes out of bounds"):
        careless_kernel[(1,)](x, y, 100, SIZE=128, MASKED=True)
