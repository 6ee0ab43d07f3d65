"""Who may ask: Host, Origin, token; what a start refuses."""

import pytest

from cmgan.cli.main import run
from tests.serve.test_app import refused

TOKEN = "0123456789abcdef0123"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:{port}", "[::1]:{port}", "127.0.0.1:{port}", "LOCALHOST"])
def test_loopback_hosts_are_served(server, host):
    with server.client() as client:
        assert client.get("/v2", headers={"host": host.format(port=server.port)}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v2", "/metrics", "/nothing", "/v2/health/live"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8080", "10.0.0.1", "a b", ""])
def test_other_hosts_are_refused_everywhere(server, host, path):
    with server.client() as client:
        refused(client.get(path, headers={"host": host}), 421, "host")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PATCH"])
def test_other_origins_are_refused_on_every_method(server, method):
    with server.client() as client:
        for origin in ("http://evil.example", "null", f"https://evil.example:{server.port}", "http://localhost:1"):
            refused(client.request(method, "/v2", headers={"origin": origin}), 403, "origin")
        refused(client.request(method, "/v2", headers={"sec-fetch-site": "cross-site"}), 403, "origin")


def test_the_own_origin_is_served(server):
    with server.client() as client:
        answer = client.get("/v2", headers={"origin": server.url, "sec-fetch-site": "same-origin"})
    assert answer.status_code == 200


def test_named_hosts_and_origins(start):
    running = start(allowed_hosts=["paint.example"], allow_origins=["https://site.example"])
    with running.client() as client:
        assert client.get("/v2", headers={"host": "paint.example"}).status_code == 200
        answer = client.get("/v2", headers={"origin": "https://site.example"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://site.example"


def test_a_token_is_asked_for_where_there_is_one(start, files):
    running = start(token=TOKEN)
    with running.client() as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            for path in ("/v2", "/metrics", "/api/v1/model", "/openapi.json", "/nothing", f"/v2?token={TOKEN}"):
                answer = client.get(path, headers=headers)
                refused(answer, 401, "token")
                assert answer.headers["www-authenticate"] == "Bearer"
            refused(client.post("/api/v1/inpaint", files=files, headers=headers), 401, "token")
        right = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/v2", headers=right).status_code == 200
        assert client.post("/api/v1/inpaint", files=files, headers=right).status_code == 200
        for path in (
            "/",
            "/static/main.js",
            "/v2/health/live",
            "/v2/health/ready",
        ):  # the page asks for it, probes cannot
            assert client.get(path).status_code == 200
    assert TOKEN not in running.errors()


def test_the_token_of_the_environment(command):
    running = command("--model", "null", "--host", "0.0.0.0", CMGAN_TOKEN=TOKEN)
    with running.client() as client:
        assert client.get("/v2").status_code == 401
        assert client.get("/v2", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (["--host", "0.0.0.0"], "token"),
        (["--host", "::"], "token"),
        (["--token-file", "/nonexistent"], "token"),
        (["--queue", "0"], "limit"),
        (["--concurrency", "-1"], "limit"),
        (["--max-pixels", "0"], "limit"),
        (["--request-timeout", "nan"], "limit"),
        (["--port", "70000"], "limit"),
    ],
)
def test_a_start_that_is_refused(arguments, slug, capfd):
    assert run(["serve", "--model", "null", *arguments]) == 2
    errors = capfd.readouterr().err
    assert errors.startswith(f"cmgan: error[{slug}]: ") and errors.count("\n") == 1


def test_a_request_id_is_kept_if_it_is_one(server):
    with server.client() as client:
        assert client.get("/v2", headers={"x-request-id": "abc-1.2"}).headers["x-request-id"] == "abc-1.2"
        for strange in ("a b", "x" * 65, "\x1b[31m", "ü"):
            answer = client.get("/v2", headers={"x-request-id": strange.encode("latin-1")})
            if answer.status_code == 200:
                assert answer.headers["x-request-id"].isalnum()
