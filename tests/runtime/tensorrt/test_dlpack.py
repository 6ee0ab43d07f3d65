"""Looking at arrays of other libraries through DLPack, against what those libraries say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmgan.runtime.tensorrt.dlpack import CPU, lent


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 7), (5,), ()])
def test_arrays_of_numpy(dtype, shape):
    array = np.zeros(shape, dtype)
    view = lent(array)
    assert (view.pointer, view.shape, view.dtype, view.device) == (array.ctypes.data, shape, array.dtype, (CPU, 0))


def test_tensors_of_torch_that_start_somewhere():
    tensor = torch.zeros(4, 5)[1:]
    view = lent(tensor)
    assert (view.pointer, view.shape, view.dtype) == (tensor.data_ptr(), (3, 5), np.dtype(np.float32))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (torch.zeros(4, 5).T, "not contiguous"),
        (torch.zeros(4, 8)[:, ::2], "not contiguous"),
        (torch.zeros(2, dtype=torch.bfloat16), "DLPack type 4, 16 bits"),
        ([1, 2], "list has no __dlpack__"),
    ],
)
def test_what_cannot_be_used(array, reason):
    with pytest.raises(ValueError, match=reason):
        lent(array)
