"""A stop loses nothing that was accepted, and has an end."""

import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.serve.conftest import REPOSITORY
from tests.serve.test_raw import GET, INPAINT, Raw


def form_of(files):
    body = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="x"\r\n\r\n%b\r\n'
    form = b"".join(body % (name.encode(), data) for name, data in files.items()) + b"--b--\r\n"
    return INPAINT + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(form) + form


def stop_under_load(start, files, offset, accepted=30):
    """30 requests all there, 2 half-sent ones, 5 idle connections; then SIGTERM."""
    running = start("slow", 0.02, concurrency=4, queue=40, shutdown_grace=10.0)
    request = form_of(files)
    idle, half = [Raw(running) for _ in range(5)], [Raw(running).send(request[:-20]) for _ in range(2)]
    for connection in idle:
        connection.send(GET + b"\r\n").answer()
    connections = [Raw(running).send(request) for _ in range(accepted)]
    time.sleep(0.05 + offset)
    started = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    with ThreadPoolExecutor(accepted) as pool:
        answers = list(pool.map(Raw.rest, connections))
    code = running.process.wait(15)
    took = time.monotonic() - started
    for connection in (*idle, *half):
        connection.rest()
    with pytest.raises(OSError):
        socket.create_connection((running.host, running.port), 1)
    assert sum(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers) == accepted
    assert code == 0 and took < 5
    assert running.errors() == ""


def test_a_stop_answers_everything_accepted(start, files):
    stop_under_load(start, files, 0.0)


@pytest.mark.check
def test_twenty_stops(start, files):
    random_offset = random.Random(0)
    for _ in range(20):
        stop_under_load(start, files, random_offset.random() * 0.2)


def test_ready_turns_at_once_and_what_runs_is_answered(start, files):
    running = start("slow", 1.0, concurrency=1)
    kept = running.client()
    assert kept.get("/v2/health/ready").status_code == 200
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{running.url}/api/v1/inpaint", files=files, timeout=10, trust_env=False)
        time.sleep(0.3)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(httpx.TransportError):  # no new connection, and the idle one is closed
            httpx.get(f"{running.url}/v2/health/ready", trust_env=False)
        assert answer.result().status_code == 200
    kept.close()
    assert running.process.wait(5) == 0


def test_past_the_grace_it_ends_with_a_count(start, files):
    running = start("slow", 1.5, concurrency=1, shutdown_grace=0.3)
    connection = Raw(running).send(form_of(files))
    time.sleep(0.3)
    started = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 143
    assert time.monotonic() - started < 1.2
    assert running.errors() == "cmgan: error: 1 requests were dropped after 0.3 s (--shutdown-grace)\n"
    connection.rest()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_with_0(start, number):
    assert start().stop(number) == 0


def test_a_stop_while_the_model_loads_does_not_wait_for_it(start):
    running = start("late", 30.0)
    with running.client() as client:
        assert client.get("/v2/health/ready").status_code == 503  # it runs, and loads
    started = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started < 3
    assert running.errors() == ""


def test_a_second_signal_ends_at_once(start, files):
    running = start("slow", 2.0, concurrency=1)
    connection = Raw(running).send(form_of(files))
    time.sleep(0.3)
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    started = time.monotonic()
    assert running.stop() == 143
    assert time.monotonic() - started < 1
    connection.rest()


def test_killed_and_started_again_it_serves(start, files):
    first = start("slow", 0.0)
    port = first.port
    first.stop(signal.SIGKILL)
    again = start("slow", 0.0, port=port)
    with again.client() as client:
        assert client.post("/api/v1/inpaint", files=files).status_code == 200


def test_a_stopped_clock_lets_deadlines_pass(start, files):
    """SIGSTOP and SIGCONT: what has waited too long meanwhile is refused, the rest served."""
    running = start("slow", 0.0)
    running.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        headers = {"x-cmgan-timeout": "30"}
        url = f"{running.url}/api/v1/inpaint"
        waiting = pool.submit(httpx.post, url, files=files, headers=headers, timeout=20, trust_env=False)
        time.sleep(1.5)
        running.process.send_signal(signal.SIGCONT)
        assert waiting.result().status_code == 200
    assert running.errors() == ""


def test_a_server_without_a_terminal(tmp_path, files):
    """Standard input closed, a session of its own, HUP ignored."""
    with open(tmp_path / "out", "wb") as out:
        command = ["nohup", sys.executable, "-m", "tests.serve.program", "slow", "0", "{}"]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    address = None
    for _ in range(200):
        found = [line for line in (tmp_path / "out").read_text().splitlines() if line.startswith("http")]
        if found:
            address = found[0]
            break
        time.sleep(0.05)
    try:
        assert address
        process.send_signal(signal.SIGHUP)
        answer = httpx.post(f"{address}api/v1/inpaint", files=files, trust_env=False)
        assert answer.status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
