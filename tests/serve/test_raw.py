"""What no well-behaved client sends: written to the socket byte by byte."""

import contextlib
import re
import socket
import threading
import time

import pytest

INPAINT = b"POST /api/v1/inpaint HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"


_open: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _closed():
    yield
    while _open:
        _open.pop().close()


class Raw:
    """A connection that says what it is told."""

    def __init__(self, server) -> None:
        self.socket = socket.create_connection((server.host, server.port), 10)
        _open.append(self.socket)

    def send(self, data: bytes) -> "Raw":
        self.socket.sendall(data)
        return self

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := self.socket.recv(65_536):
                received += part
        return received

    def answer(self) -> bytes:
        """One answer; the connection may stay."""
        received = b""
        while b"\r\n\r\n" not in received:
            part = self.socket.recv(65_536)
            assert part, received
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += self.socket.recv(65_536)
        return head + b"\r\n\r\n" + body

    def closed_after(self) -> float:
        """Seconds until the server closes it."""
        started = time.monotonic()
        self.rest()
        return time.monotonic() - started


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A server of short patience."""
    import json

    from tests.serve.conftest import Server

    options = {"header_timeout": 0.6, "receive_timeout": 1.0, "keepalive": 0.8, "max_body_bytes": 100_000}
    options |= {"max_connections": 300, "queue": 2}
    running = Server(["-m", "tests.serve.program", "slow", "0", json.dumps(options)], tmp_path_factory.mktemp("quick"))
    yield running
    assert running.stop() == 0
    assert running.errors() == ""


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, answer[:100]
    return int(found[1])


def test_a_silent_connection_is_closed(quick):
    assert 0.4 < Raw(quick).closed_after() < 2


@pytest.mark.parametrize("head", [b"G", b"GET / HTTP/1.1\r\n", GET[:-1], GET + b"X: y", b"\r\n", b"\r\n\r\n\r\n"])
def test_half_a_head_is_closed(quick, head):
    assert 0.4 < Raw(quick).send(head).closed_after() < 2


def test_a_head_that_trickles_is_closed(quick):
    connection = Raw(quick)
    started = time.monotonic()
    with contextlib.suppress(OSError):
        for byte in GET * 10:
            connection.send(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - started < 2


def test_half_a_body_is_408_and_closed(quick):
    connection = Raw(quick).send(INPAINT + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    started = time.monotonic()
    answer = connection.rest()
    assert status(answer) == 408 and b"receive_timeout" in answer
    assert 0.8 < time.monotonic() - started < 3


def test_half_a_chunk_is_408_and_closed(quick):
    head = INPAINT + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"
    assert status(Raw(quick).send(head).rest()) == 408


def test_an_idle_connection_is_closed(quick):
    connection = Raw(quick).send(GET + b"\r\n")
    assert status(connection.answer()) == 200
    assert 0.5 < connection.closed_after() < 3


def test_the_second_request_of_a_connection_has_deadlines_too(quick):
    connection = Raw(quick).send(GET + b"\r\n")
    assert status(connection.answer()) == 200
    connection.send(GET[:20])
    assert connection.closed_after() < 2
    connection = Raw(quick).send(GET + b"\r\n")
    assert status(connection.answer()) == 200
    connection.send(b"\r\n")
    assert connection.closed_after() < 2


def test_two_requests_at_once_get_two_answers(quick):
    connection = Raw(quick).send((GET + b"\r\n") * 2)
    assert connection.rest().count(b"HTTP/1.1 200 OK") == 2


def test_a_body_announced_too_large_is_refused_unread(quick):
    head = INPAINT + b"Content-Type: application/json\r\nContent-Length: 100001\r\n"
    started = time.monotonic()
    assert status(Raw(quick).send(head + b"\r\n").answer()) == 413
    answer = Raw(quick).send(head + b"Expect: 100-continue\r\n\r\n").rest()
    assert status(answer) == 413 and b"100 Continue" not in answer and b"connection: close" in answer
    assert time.monotonic() - started < 0.5


def test_a_body_that_grows_too_large_is_refused_at_the_limit(quick):
    head = INPAINT + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = Raw(quick).send(head)
    chunk = b"2000\r\n" + bytes(0x2000) + b"\r\n"
    with contextlib.suppress(OSError):
        for _ in range(14):
            connection.send(chunk)
    assert status(connection.answer()) == 413


def test_expect_continue_is_answered_for_a_body_of_the_right_size(quick):
    connection = Raw(quick).send(
        INPAINT + b"Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    assert connection.answer().startswith(b"HTTP/1.1 100 Continue")
    assert status(connection.send(b"{}").answer()) == 400


def test_large_heads_are_431(quick):
    one = GET + b"X-Large: " + b"a" * 100_000 + b"\r\n\r\n"
    many = GET + b"".join(b"X-%d: a\r\n" % n for n in range(1000)) + b"\r\n"
    path = b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    unfinished = GET + b"X-Large: " + b"a" * 40_000
    for request in (one, many, path, unfinished):
        assert status(Raw(quick).send(request).answer()) == 431


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header\r\n\r\n",
        INPAINT + b"Content-Length: -1\r\n\r\n",
        INPAINT + b"Content-Length: 1x\r\n\r\n",
        INPAINT + b"Content-Length: 99999999999999999999\r\n\r\n",
        INPAINT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        INPAINT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        INPAINT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(quick, request_bytes):
    answer = Raw(quick).send(request_bytes).answer()
    assert status(answer) in (400, 408, 413, 415, 421, 505)
    assert b'"code"' in answer and b"Traceback" not in answer


def test_an_upgrade_is_no_upgrade(quick):
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
    assert status(Raw(quick).send(GET + upgrade).answer()) in (200, 400, 426)


def test_an_absolute_address_reaches_nothing_else(quick):
    request = b"GET http://evil.example/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert status(Raw(quick).send(request).answer()) in (400, 404)


def test_too_many_connections_are_refused_and_the_others_served(start):
    running = start("slow", 0.0, max_connections=5, header_timeout=1.0)
    silent = [Raw(running) for _ in range(5)]
    time.sleep(0.1)
    answer = Raw(running).rest()
    assert status(answer) == 503 and b"retry-after: 1" in answer
    time.sleep(1.2)
    with running.client() as client:
        assert client.get("/v2/health/live").status_code == 200
    del silent


@pytest.mark.check
def test_silent_and_slow_connections_hold_nobody_up(quick, files):
    """200 silent ones and 50 that send a byte now and then, twice as many as the queue holds by far."""

    def p99() -> float:
        seconds = []
        with quick.client() as client:
            for _ in range(60):
                started = time.perf_counter()
                assert client.post("/api/v1/inpaint", files=files).status_code == 200
                seconds.append(time.perf_counter() - started)
        return sorted(seconds)[-2]

    before = p99()
    stop = threading.Event()
    silent = [Raw(quick) for _ in range(200)]
    slow = [
        Raw(quick).send(INPAINT + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n") for _ in range(50)
    ]

    def trickle() -> None:
        while not stop.wait(0.2):
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.send(b"{")

    thread = threading.Thread(target=trickle)
    thread.start()
    during = p99()
    time.sleep(2)
    stop.set()
    thread.join()
    assert during <= 1.5 * before + 0.05
    for connection in (*silent, *slow):
        assert connection.closed_after() < 0.5  # gone long ago


def test_a_client_that_goes_while_it_waits_is_never_worked_for(start, files):
    running = start("slow", 1.2, concurrency=1, queue=5)
    body = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="x"\r\n\r\n%b\r\n'
    form = b"".join(body % (name.encode(), data) for name, data in files.items()) + b"--b--\r\n"
    head = INPAINT + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(form)
    calls = running.metric("cmgan_engine_batch_size_count")
    connections = [Raw(running).send(head + form) for _ in range(4)]
    time.sleep(0.2)
    for connection in connections[1:]:  # they wait
        connection.socket.close()
    assert status(connections[0].answer()) == 200
    time.sleep(0.3)
    assert running.metric("cmgan_engine_batch_size_count") == calls + 1
    assert running.metric("cmgan_cancelled_total") == 3
    leaving = Raw(running).send(head + form)
    time.sleep(0.2)
    leaving.socket.close()  # while it is worked for
    with running.client() as client:
        assert client.post("/api/v1/inpaint", files=files).status_code == 200
    assert running.metric("cmgan_cancelled_total") == 4
    assert running.errors() == ""


def test_deadlines(start, files):
    running = start("slow", 2.0, concurrency=1, queue=5, queue_timeout=0.2)
    with running.client() as client:
        started = time.monotonic()
        answer = client.post("/api/v1/inpaint", files=files, headers={"x-cmgan-timeout": "0.1"})
        assert answer.status_code == 504 and answer.json()["code"] == "deadline"
        assert time.monotonic() - started < 1.5
        late = client.post("/api/v1/inpaint", files=files)  # the thread is still busy
        assert late.status_code == 503 and late.json()["code"] == "queue_timeout"
        time.sleep(2.0)
        assert client.post("/api/v1/inpaint", files=files, headers={"x-cmgan-timeout": "1000"}).status_code == 200
        for wrong in ("x", "-1", "0", "nan", "inf"):
            answer = client.post("/api/v1/inpaint", files=files, headers={"x-cmgan-timeout": wrong})
            assert answer.status_code == 400 and answer.json()["code"] == "timeout"
