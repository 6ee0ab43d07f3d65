"""STFT nodes as convolutions, against frames that NumPy transforms."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cmgan.export.lower.lowering import lower_fft
from tests.export.lower.dft_graphs import (
    FLOAT,
    chain,
    info,
    integer,
    operators,
    random,
    run,
    share,
)
from tests.tolerances import tolerance


def stft(window, length, step, *, components=1, onesided=1, element_type=FLOAT):
    constants = [integer("step", step), integer("length", length)]
    if window is not None:
        constants.append(onnx.numpy_helper.from_array(window.astype(np.float32), "window"))
    inputs = ["x", "step", "" if window is None else "window", "length"]
    node = helper.make_node("STFT", inputs, ["y"], name="frames", onesided=onesided)
    return chain([node], constants, shape=(2, "L", components), element_type=element_type)


@pytest.mark.parametrize("window", [None, np.hanning(16)], ids=["plain", "windowed"])
@pytest.mark.parametrize("components, onesided", [(1, 1), (1, 0), (2, 0)])
def test_an_stft_becomes_a_convolution(window, components, onesided):
    lowered, report = lower_fft(stft(window, 16, 5, components=components, onesided=onesided))
    onnx.checker.check_model(lowered, full_check=True)
    assert "STFT" not in operators(lowered) and operators(lowered).count("Conv") == 1
    assert report.rows()[0][2] == "16 every 5" and report.to_dict()["nodes"][0]["operator"] == "STFT"
    x = random((2, 40, components))
    signal = x.astype(np.float64)
    signal = signal[..., 0] + (1j * signal[..., 1] if components == 2 else 0)
    frames = np.stack([signal[:, start : start + 16] for start in range(0, 25, 5)], 1)
    frames = frames * (1 if window is None else window.astype(np.float32))
    spectrum = np.fft.fft(frames)[..., : 9 if onesided else 16]
    exact = np.stack([spectrum.real, spectrum.imag], -1)
    assert share(run(lowered, {"x": x})[0], exact) <= tolerance("dft_float")
    assert report.nodes[0].error.product <= tolerance("dft_float")


def test_an_stft_that_is_no_convolution_is_named_with_its_reason():
    model = stft(np.hanning(16), 16, 5)
    del model.graph.initializer[0]
    model.graph.input.append(info("step", TensorProto.INT64, []))
    report = lower_fft(model)[1]
    assert [(node.name, node.operator) for node in report.left] == [("frames", "STFT")]
    assert "its step or its frame's length is not static" in report.summary()
