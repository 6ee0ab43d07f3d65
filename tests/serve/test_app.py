"""The API of a real server."""

import base64
import socket

import numpy as np
import pytest
from PIL import Image

from cmgan.cli.main import run
from tests.serve.conftest import REPOSITORY, box_mask, decoded, encoded, picture

INPAINT = "/api/v1/inpaint"


def test_a_form_gets_the_picture_back(server, files):
    with server.client() as client:
        answer = client.post(INPAINT, files=files)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert (decoded(answer.content) == picture()).all()  # the null engine copies
    assert answer.headers["x-seed"] == "0"
    assert float(answer.headers["x-cmgan-hole"]) == pytest.approx(1 / 16, abs=1e-6)
    assert "dur=" in answer.headers["server-timing"]


def test_the_hole_is_filled_and_nothing_else(start, files):
    running = start()
    with running.client() as client:
        after = decoded(client.post(INPAINT, files=files).content)
    hole = box_mask() >= 128
    assert (after[hole] == 255).all() and (after[~hole] == picture()[~hole]).all()


def test_iopaint_clients_are_understood(server, files):
    """The fields and the answer that IOPaint's own page uses."""
    document = {
        "image": base64.b64encode(files["image"]).decode(),
        "mask": "data:image/png;base64," + base64.b64encode(files["mask"]).decode(),
        **{"ldm_steps": 20, "ldm_sampler": "plms", "zits_wireframe": True, "hd_strategy": "Crop"},
        **{"hd_strategy_crop_trigger_size": 800, "hd_strategy_crop_margin": 128, "hd_strategy_resize_limit": 1280},
        **{"prompt": "", "negative_prompt": "", "use_croper": False, "croper_x": 0, "use_extender": False},
        **{"sd_steps": 50, "sd_seed": 42, "sd_match_histograms": False, "cv2_flag": "INPAINT_NS", "cv2_radius": 4},
        **{"enable_controlnet": False, "controlnet_method": "", "enable_brushnet": False, "fitting_degree": 1.0},
        **{"enable_powerpaint_v2": False, "powerpaint_task": "text-guided", "paint_by_example_example_image": None},
    }
    with server.client() as client:
        answer = client.post(INPAINT, json=document)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-seed"] == "42"
        assert (decoded(answer.content) == picture()).all()
        drawn = client.post(INPAINT, json=document | {"sd_seed": -1})
        assert drawn.status_code == 200 and int(drawn.headers["x-seed"]) >= 0


def test_several_samples_come_as_json(server, files):
    with server.client() as client:
        answer = client.post(INPAINT, files=files, data={"samples": "3", "seed": "5"}).json()
    assert answer["seeds"] == [5, 6, 7] and answer["media_type"] == "image/png"
    for image in answer["images"]:
        assert (decoded(base64.b64decode(image)) == picture()).all()


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_formats_of_the_answer(server, files, format):
    with server.client() as client:
        answer = client.post(INPAINT, files=files, data={"format": format})
    assert answer.headers["content-type"] == f"image/{format}"
    assert decoded(answer.content).shape == (64, 64, 3)


def test_a_box_or_the_alpha_channel_instead_of_a_mask(start):
    running = start()
    rgba = np.dstack([picture(), 255 - box_mask()])
    with running.client() as client:
        boxed = client.post(INPAINT, files={"image": encoded(picture())}, data={"box": "0,0,4,4;60,60,4,4"})
        transparent = client.post(INPAINT, files={"image": encoded(rgba)}, data={"mask_from": "alpha"})
    hole = np.zeros((64, 64), bool)
    hole[:4, :4] = hole[60:, 60:] = True
    after = decoded(boxed.content)
    assert (after[hole] == 255).all() and (after[~hole] == picture()[~hole]).all()
    assert (decoded(transparent.content)[box_mask() >= 128] == 255).all()


def test_an_empty_mask_needs_no_engine_and_says_so(server, files):
    with server.client() as client:
        before = server.metric("cmgan_engine_batch_size_count")
        answer = client.post(INPAINT, files=files | {"mask": encoded(np.zeros((64, 64), np.uint8))})
    assert answer.status_code == 200 and (decoded(answer.content) == picture()).all()
    assert answer.headers["x-cmgan-warning"] == "mask_empty"
    assert server.metric("cmgan_engine_batch_size_count") == before


def refused(answer, status, code, word=""):
    """The contract of every refusal."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert set(document) == {"error", "code", "request_id"}
    assert document["code"] == code and word in document["error"], document
    for betrayal in ("Traceback", ".py", "pydantic", "starlette", "PIL", str(REPOSITORY)):
        assert betrayal not in answer.text
    assert len(document["error"]) <= 300 and document["error"].isascii()


@pytest.mark.parametrize(
    ("change", "status", "code", "word"),
    [
        ({"mask": None}, 400, "mask_missing", "mask"),
        ({"image": None}, 400, "field", "image"),
        ({"image": b"no picture"}, 422, "image_format", "png"),
        ({"image": "http://127.0.0.1:1/x.png"}, 422, "base64", "not an address"),
        ({"image": "data:text/html;base64,AAAA"}, 422, "base64", "image"),
        ({"image": "AAAA*"}, 422, "base64", "image"),
        ({"image": ""}, 422, "empty", "0 bytes"),
        ({"mask": encoded(np.full((64, 64), 255, np.uint8))}, 422, "mask_full", "invert"),
        ({"mask": encoded(np.zeros((32, 64), np.uint8))}, 422, "mask_size", "64x32"),
        ({"strategy": "best"}, 400, "field", "strategy"),
        ({"seed": "-2"}, 400, "field", "seed"),
        ({"seed": str(2**64)}, 400, "field", "seed"),
        ({"samples": "0"}, 400, "field", "samples"),
        ({"samples": "17"}, 400, "field", "samples"),
        ({"dilat": "3"}, 400, "field", "did you mean dilate"),
        ({"dilate": "100000"}, 400, "option", "dilate"),
        ({"box": "1,2,3,4"}, 400, "mask_twice", "mask"),
        ({"format": "gif"}, 400, "field", "format"),
    ],
)
def test_refusals_of_a_form(server, files, change, status, code, word):
    fields = {**files, **change}
    parts = {k: (k, v) if isinstance(v, bytes) else (None, v) for k, v in fields.items() if v is not None}
    with server.client() as client:
        refused(client.post(INPAINT, files=parts), status, code, word)


def test_refusals_of_bodies(server, files):
    with server.client() as client:
        for body in (b"{", b"[1]", b'{"image": NaN}', b"[" * 10_000, b"\xff"):
            answer = client.post(INPAINT, content=body, headers={"content-type": "application/json"})
            refused(answer, 400, "json")
        refused(client.post(INPAINT, content=b"x", headers={"content-type": "text/plain"}), 415, "content_type")
        refused(client.post(INPAINT), 415, "content_type")
        encoding = {"content-type": "application/json", "content-encoding": "gzip"}
        refused(client.post(INPAINT, content=b"x", headers=encoding), 415, "content_encoding")
        twice = [("image", files["image"]), ("image", files["image"]), ("mask", files["mask"])]
        refused(client.post(INPAINT, files=twice), 400, "form", "twice")
        many = [(f"part{n}", b"x") for n in range(30)]
        refused(client.post(INPAINT, files=many), 400, "form")
        broken = {"content-type": "multipart/form-data; boundary=b"}
        refused(client.post(INPAINT, content=b"--b\r\nno part", headers=broken), 400, "form")


def test_unknown_paths_and_methods(server):
    with server.client() as client:
        for path in ("/shutdown", "/v2/repository/models/x/load", "/file=/etc/passwd", "/api/v1/save_image", "/docs"):
            refused(client.get(path), 404, "not_found")
        for path in (
            "/..%2f..%2fetc/passwd",
            "/static/..%5c..%5cx",
            "/static/%2e%2e/run.py",
            "/static/%00",
            "/static/",
        ):
            refused(client.get(path), 404, "not_found")
        answer = client.get(INPAINT)
        refused(answer, 405, "method")
        assert answer.headers["allow"] == "POST"
        for path in ("/", "/v2", "/metrics"):
            refused(client.delete(path), 405, "method")


def test_every_answer_carries_the_security_headers(server, files):
    with server.client() as client:
        answers = [client.get("/"), client.get("/nothing"), client.post(INPAINT, files=files), client.get("/v2")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' blob: data:;")
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


def test_the_page_and_the_description_are_there(server):
    with server.client() as client:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "<script>" not in page.text and "style=" not in page.text and "//" not in page.text.split("<body>")[0]
        description = client.get("/openapi.json").json()
        assert client.get("/api").status_code == 200
        model = client.get("/api/v1/model").json()
    assert set(description["paths"]) == {
        *("/api/v1/inpaint", "/api/v1/model", "/metrics", "/v2", "/v2/health/live", "/v2/health/ready"),
        *("/v2/models/cmgan", "/v2/models/cmgan/ready", "/v2/models/cmgan/infer"),
    }
    assert model["name"] == "null" and model["resolution"] == 512 and "copies the picture" in model["about"]


def test_a_range_of_a_thousand_ranges_is_ignored(server):
    ranges = ",".join(f"{n}-{n}" for n in range(1000))
    with server.client() as client:
        answer = client.get("/static/page.css", headers={"range": f"bytes={ranges}"})
    assert answer.status_code == 200 and answer.elapsed.total_seconds() < 0.5


def test_a_picture_that_breaks_the_engine_hurts_only_itself(start, files):
    running = start()
    flat = encoded(np.full((64, 64, 3), 9, np.uint8))
    with running.client() as client:
        refused(client.post(INPAINT, files=files | {"image": flat}), 500, "internal")
        assert client.post(INPAINT, files=files).status_code == 200
    assert "secret detail" in running.errors()  # the log has it


def test_out_of_memory_is_503_and_the_server_lives(start, files):
    running = start("memory")
    with running.client() as client:
        answer = client.post(INPAINT, files=files)
        refused(answer, 503, "out_of_memory")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/v2/health/ready").status_code == 200


def test_metrics_count(start, files):
    running = start()
    with running.client() as client:
        client.post(INPAINT, files=files, data={"samples": "2"})
        client.post(INPAINT, files={"image": b""})
        text = client.get("/metrics").text
    assert 'cmgan_requests_total{path="/api/v1/inpaint",status="200"} 1.0' in text
    assert 'cmgan_stage_seconds_count{stage="engine"} 1.0' in text
    assert "cmgan_pictures_total 2.0" in text and "cmgan_hole_share_count 1.0" in text
    assert "cmgan_ready 1.0" in text and 'cmgan_errors_total{code="mask_missing"} 1.0' in text


def test_while_the_model_loads(start, files):
    running = start("late", 2.0)
    with running.client() as client:
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503
        answer = client.post(INPAINT, files=files)
        refused(answer, 503, "loading")
        assert answer.headers["retry-after"] == "1"
        assert running.process.stdout.readline().startswith("http")  # the second line: ready
        assert client.post(INPAINT, files=files).status_code == 200


def test_limits_that_were_given(command, files):
    running = command("--model", "null", "--max-pixels", 4000, "--max-body-bytes", 20_000, "--max-side", 100)
    with running.client() as client:
        refused(client.post(INPAINT, files=files), 422, "image_too_large", "--max-pixels")
        refused(client.post(INPAINT, files={"image": bytes(20_001)}), 413, "body_too_large", "--max-body-bytes")


def test_a_busy_port_is_refused_before_loading(capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run(["serve", "--model", "no-such-model", "--port", str(taken.getsockname()[1])]) == 6
    assert capfd.readouterr().err.startswith("cmgan: error[port_in_use]: port ")


def test_a_model_that_does_not_load_ends_the_server(capfd, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    assert run(["serve", "--model", str(tmp_path / "broken.onnx"), "--port", "0"]) == 4
    errors = capfd.readouterr().err
    assert errors.startswith("cmgan: error[") and errors.count("\n") == 1


def test_the_example_photograph_comes_back_exactly(server):
    """Known pixels are those that Pillow decodes from the JPEG."""
    photo, mask = (REPOSITORY / "examples" / name for name in ("photo.jpg", "mask.png"))
    with server.client() as client:
        answer = client.post(INPAINT, files={"image": photo.read_bytes(), "mask": mask.read_bytes()})
    with Image.open(photo) as image:
        assert (decoded(answer.content) == np.asarray(image)).all()
