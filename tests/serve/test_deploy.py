"""The files in docker/: linted, and nginx in front of a real server."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.serve.conftest import REPOSITORY, decoded, picture

pytestmark = pytest.mark.check
DOCKER = REPOSITORY / "docker"


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_dockerfiles_are_linted(name):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    text = (DOCKER / name).read_text()
    assert "\nUSER 10001\n" in text and "\nHEALTHCHECK " in text


@pytest.fixture
def nginx() -> str:
    if not shutil.which("nginx") and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        line = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"]
        subprocess.run(line, check=False, timeout=300, env=environment, stdout=subprocess.DEVNULL)
    path = shutil.which("nginx")
    if not path:
        pytest.skip("needs nginx: apt-get install nginx-light")
    return path


def test_behind_nginx(nginx, start, files, tmp_path):
    running = start("slow", 0.0, allowed_hosts=["paint.example.org"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (DOCKER / "nginx.conf").read_text()
    for old, new in (("127.0.0.1:8080", f"127.0.0.1:{running.port}"), (":8443", f":{port}"), ("/tmp/", f"{tmp_path}/")):
        assert old in text
        text = text.replace(old, new)
    if os.geteuid() == 0:
        text = "user root;\n" + text  # the folder is closed to others
    (tmp_path / "nginx.conf").write_text(text)
    line = [nginx, "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    try:
        transport = httpx.HTTPTransport(retries=10)
        headers = {"host": "paint.example.org", "origin": "https://paint.example.org"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, headers=headers) as client:
            answer = client.post("/api/v1/inpaint", files=files)
            assert answer.status_code == 200 and decoded(answer.content).shape == picture().shape
            assert client.get("/").status_code == 200
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            raw.sendall(b"POST /api/v1/inpaint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (73 * 2**20))
            assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    finally:
        process.terminate()
        process.wait(10)
