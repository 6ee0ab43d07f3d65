"""Tensors of the Open Inference Protocol: what is taken and what is refused, in the parser and over HTTP."""

import json
import time

import numpy as np
import pytest

from cmgan.runtime.engine import EngineInfo
from cmgan.serve.protocol_v2 import InferRequest, encode, metadata
from cmgan.serve.refusals import HttpRefusal

SIDE, Z = 8, 3
INFO = EngineInfo("test", "test", SIDE, Z, "fp32", True, "")


def arrays(size=2):
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8),
        "mask": random.integers(0, 256, (size, SIDE, SIDE), dtype=np.uint8),
        "z": random.standard_normal((size, Z), np.float32),
    }


def document(**changes):
    """A request with data as JSON; `image={"shape": ...}` changes a tensor, None leaves it out."""
    tensors = []
    for name, array in arrays().items():
        kind = "FP32" if array.dtype.kind == "f" else "UINT8"
        tensor = {"name": name, "datatype": kind, "shape": list(array.shape), "data": array.ravel().tolist()}
        if changes.get(name, {}) is not None:
            tensors.append(tensor | changes.get(name, {}))
    return {"inputs": tensors, **{key: value for key, value in changes.items() if key not in arrays()}}


def parse(body, header=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return InferRequest(data, header, INFO, 4)


def test_numbers_flat_and_nested():
    nested = {name: {"data": array.tolist()} for name, array in arrays().items()}
    for body in (document(), document(**nested)):
        for name, array in parse(body).arrays.items():
            assert array.dtype == arrays()[name].dtype and (array == arrays()[name]).all()


def binary(names):
    """A request whose tensors `names` follow as bytes, in that order."""
    body, tail = document(), b""
    body["inputs"].sort(key=lambda tensor: (list(names) + ["image", "mask", "z"]).index(tensor["name"]))
    for tensor in body["inputs"]:
        if tensor["name"] in names:
            data = arrays()[tensor["name"]].tobytes()
            del tensor["data"]
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail += data
    head = json.dumps(body).encode()
    return head + tail, str(len(head))


@pytest.mark.parametrize("names", [("image",), ("z", "mask", "image"), ("mask", "z")])
def test_bytes_in_any_order_beside_numbers(names):
    for name, array in parse(*binary(names)).arrays.items():
        assert (array == arrays()[name]).all()


def test_the_answer_in_both_forms():
    output = arrays()["image"]
    body, headers = encode(parse(document(id="seven")), output)
    answer = json.loads(body)
    assert answer["id"] == "seven" and answer["model_name"] == "cmgan"
    assert (np.array(answer["outputs"][0]["data"], np.uint8).reshape(output.shape) == output).all()
    for wish in ({"parameters": {"binary_data_output": True}}, _asked({"binary_data": True})):
        body, headers = encode(parse(document(**wish)), output)
        length = int(headers["Inference-Header-Content-Length"])
        assert json.loads(body[:length])["outputs"][0]["parameters"] == {"binary_data_size": output.nbytes}
        assert body[length:] == output.tobytes()


def _asked(parameters):
    return {"outputs": [{"name": "output", "parameters": parameters}]}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (document(z=None), "image, mask"),
        (document(z={"name": "zz"}), "zz"),
        (document(z={"name": "mask"}), "twice"),
        (document(image={"datatype": "FP32"}), "UINT8"),
        (document(image={"shape": [2, SIDE, SIDE]}), "shape"),
        (document(image={"shape": [-2, SIDE, SIDE, 3]}), "shape"),
        (document(image={"shape": [2**62, SIDE, SIDE, 3]}), "shape"),
        (document(image={"shape": [5, SIDE, SIDE, 3]}), "1 to 4"),
        (document(image={"shape": [True, SIDE, SIDE, 3]}), "shape"),
        (document(image={"shape": "2"}), "shape"),
        (document(image={"data": [1, 2]}), "numbers"),
        (document(image={"data": [0] * 385}), "numbers"),
        (document(image={"data": [256] * 384}), "0 and 255"),
        (document(image={"data": [-1] * 384}), "0 and 255"),
        (document(image={"data": [0.5] * 384}), "numbers"),
        (document(image={"data": ["a"] * 384}), "numbers"),
        (document(image={"data": [10**400] * 384}), "numbers"),
        (document(image={"data": [[1], [1, 2]]}), "numbers"),
        (document(z={"data": [1e39] * 6}), "finite"),
        (document(z={"shape": [1, 3], "data": [0, 0, 0]}), "batch"),
        (document(image={"parameters": {"binary_data_size": 384}}), "either"),
        (document(outputs=[{"name": "other"}]), "other"),
        (document(outputs=[{"name": "output"}] * 2), "one output"),
        (document(outputs=[{"name": "output"}] * 10_000), "one output"),
        (document(outputs=[]), "one output"),
        (document(inputs=3), "inputs"),
    ],
)
def test_what_is_refused(body, word):
    started = time.process_time()
    with pytest.raises(HttpRefusal, match=word) as refusal:
        parse(body)
    assert refusal.value.status == 400 and time.process_time() - started < 0.1


def test_what_is_refused_of_bytes():
    body, length = binary(("image",))
    for wrong in ("x", "-1", "9" * 30, str(len(body) + 1), str(int(length) - 1)):
        with pytest.raises(HttpRefusal):
            parse(body, wrong)
    for cut in (body[:-1], body + b"0"):
        with pytest.raises(HttpRefusal):
            parse(cut, length)


@pytest.mark.parametrize("text", ["[" * 10_000, "NaN", '{"inputs": [NaN]}', "", "{", '{"a": 1e999'])
def test_no_json(text):
    with pytest.raises(HttpRefusal):
        parse(text.encode())


def test_metadata_name_every_tensor():
    described = metadata(INFO)
    assert [tensor["shape"] for tensor in described["inputs"]] == [[-1, 8, 8, 3], [-1, 8, 8], [-1, 3]]
    assert described["outputs"] == [{"name": "output", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}]


def test_over_http(server):
    """512 x 512 pictures as bytes; the null engine gives them back."""
    image = np.random.default_rng(1).integers(0, 256, (2, 512, 512, 3), dtype=np.uint8)
    tensors = {"image": image, "mask": np.zeros((2, 512, 512), np.uint8), "z": np.zeros((2, 1), np.float32)}
    inputs = [
        {
            "name": name,
            "datatype": "FP32" if name == "z" else "UINT8",
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in tensors.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = head + b"".join(array.tobytes() for array in tensors.values())
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    with server.client() as client:
        assert client.get("/v2/models/cmgan").json()["inputs"][0]["shape"] == [-1, 512, 512, 3]
        assert client.get("/v2/models/cmgan/ready").json() == {"ready": True}
        assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
        answer = client.post("/v2/models/cmgan/infer", content=body, headers=headers)
        assert answer.content[int(answer.headers["inference-header-content-length"]) :] == image.tobytes()
        assert client.post("/v2/models/cmgan/infer", json={}).status_code == 400
        assert client.post("/v2/models/other/infer", json={}).status_code == 404
        text = client.post("/v2/models/cmgan/infer", content=b"{}", headers={"content-type": "text/plain"})
        assert text.status_code == 415
