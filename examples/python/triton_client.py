"""NVIDIA's Triton client against `cmgan serve`: tensors over the Open Inference Protocol, version 2.

    python examples/python/triton_client.py 127.0.0.1:8080 photo.jpg mask.png result.png

The picture is scaled to the network's size; for pictures of any size use /api/v1/inpaint. Triton Inference Server
itself takes the same client and the same tensors.
"""

from __future__ import annotations

import sys

import numpy as np
import tritonclient.http as triton
from PIL import Image


def main(address: str, image: str, mask: str, result: str) -> None:
    client = triton.InferenceServerClient(address)
    assert client.is_server_ready() and client.is_model_ready("cmgan")
    sizes = {tensor["name"]: tensor["shape"] for tensor in client.get_model_metadata("cmgan")["inputs"]}
    side = (sizes["image"][2], sizes["image"][1])
    tensors = {
        "image": np.asarray(Image.open(image).convert("RGB").resize(side))[None],
        "mask": np.asarray(Image.open(mask).convert("L").resize(side, Image.Resampling.NEAREST))[None],
        "z": np.random.default_rng(0).standard_normal((1, sizes["z"][1]), np.float32),
    }
    pictures = []
    for binary in (True, False):
        inputs = []
        for name, array in tensors.items():
            tensor = triton.InferInput(name, list(array.shape), "FP32" if name == "z" else "UINT8")
            tensor.set_data_from_numpy(array, binary_data=binary)
            inputs.append(tensor)
        outputs = [triton.InferRequestedOutput("output", binary_data=binary)]
        pictures.append(client.infer("cmgan", inputs, outputs=outputs).as_numpy("output"))
    assert (pictures[0] == pictures[1]).all(), "bytes and JSON say the same"
    Image.fromarray(pictures[0][0]).save(result)
    client.close()
    print(f"{side[0]} x {side[1]}: {result}")


if __name__ == "__main__":
    main(*sys.argv[1:5])
