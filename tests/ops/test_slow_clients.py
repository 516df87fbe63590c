"""Clients that send half a request and wait: they hold no thread, and the site goes on."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.ops.test_up import clean_environ
from tests.servers import GUNICORN, free_port
from tests.soon import soon, until
from webapp.ops.web_worker import INCOMPLETE, LARGE, SMALL_BODY_BYTES, WHOLE, state_of

ROOT = Path(__file__).parents[2]
THREADS = 8
HEAD = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (b"", INCOMPLETE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", INCOMPLETE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", WHOLE),
        (HEAD + b"Content-Length: 4\r\n\r\nabc", INCOMPLETE),
        (HEAD + b"content-length:4\r\n\r\nabcd", WHOLE),
        (HEAD + b"Content-Length: %d\r\n\r\n" % SMALL_BODY_BYTES, INCOMPLETE),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (SMALL_BODY_BYTES + 1), LARGE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", LARGE),
        (HEAD + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n", LARGE),
        (b"x" * 70_000, WHOLE),
    ],
)
def test_what_has_come_of_a_request_is_known_from_its_bytes(seen: bytes, state: str) -> None:
    assert state_of(seen) == state


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a real web server with a handful of threads."""
    with web_server(tmp_path_factory.mktemp("slow")) as (port, _):
        yield port


@contextmanager
def web_server(folder: Path, most_files: int | None = None) -> Iterator[tuple[int, int]]:
    """Run a web server while the block lasts; yield its port and its process."""
    port = free_port()
    environ = clean_environ(folder, WEB_THREADS=str(THREADS), PORT=str(port), LOG_LEVEL="error")
    limits = (most_files or 0, most_files or 0)
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, limits) if most_files else None
    server = subprocess.Popen(
        GUNICORN, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, preexec_fn=limit
    )
    try:
        until(lambda: status(port) == 200, 60)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(60)


def status(port: int, body: bytes | None = None) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        if body is None:
            connection.request("GET", "/healthz")
        else:
            connection.request("POST", "/api/auth/token", body=body)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def opened(
    port: int, count: int, sent: bytes, reads_bytes: int | None = None
) -> list[socket.socket]:
    found = []
    for _ in range(count):
        one = socket.socket()
        one.settimeout(60)
        if reads_bytes:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, reads_bytes)
        one.connect(("127.0.0.1", port))
        one.sendall(sent)
        found.append(one)
    return found


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        HEAD + b"Content-Length: 1000\r\n\r\nhalf",
        HEAD + b"Content-Length: 9000000\r\n\r\nhalf",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nha",
    ],
    ids=["silent", "head", "body", "large-body", "chunked"],
)
def test_many_half_requests_do_not_stop_the_site(port: int, sent: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(2000, hard - 500)
    slow = opened(port, count, sent)
    try:
        assert [status(port) for _ in range(3)] == [200, 200, 200]
        assert status(port, b"username=a&password=b" * 10) in {400, 401, 415, 422, 503}
    finally:
        for one in slow:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert status(port) == 200


def test_a_request_in_pieces_is_served(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
        for piece in (b"GET /heal", b"thz HTTP/1.1\r\nHost: 127", b".0.0.1\r\n", b"\r\n"):
            slow.sendall(piece)
            assert status(port) == 200  # it is surely looked at before the next piece is sent
        assert slow.recv(12) == b"HTTP/1.1 200"


def test_a_kept_connection_is_served_again_and_so_are_requests_sent_together(port: int) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as kept:
        for sent, answers in ((one, 1), (one * 3, 3), (one, 1)):
            kept.sendall(sent)
            seen = b""
            while seen.count(b"HTTP/1.1 200") < answers or not seen.rstrip().endswith(b"}"):
                seen += kept.recv(65536)
            assert seen.count(b"HTTP/1.1 200") == answers


def test_who_hangs_up_in_the_middle_is_forgotten_at_once(port: int) -> None:
    for sent in (b"GET / HTTP/1.1\r\n", HEAD + b"Content-Length: 1000\r\n\r\nhalf"):
        (slow,) = opened(port, 1, sent)
        with slow:
            assert status(port) == 200
            slow.shutdown(socket.SHUT_WR)
            slow.settimeout(15)  # a slow sender is told after 20 s
            with suppress(ConnectionResetError):
                assert slow.recv(100) == b""


def test_who_does_not_hang_up_after_the_last_answer_stops_nobody(port: int) -> None:
    last = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    staying = opened(port, 30, last)
    try:
        with soon():  # each of them is waited for a while
            for one in staying:
                assert b"ok" in b"".join(iter(partial(one.recv, 65536), b""))
                assert status(port) == 200
    finally:
        for one in staying:
            one.close()


def is_cut_off(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_who_makes_room_for_a_new_one_just_as_more_of_him_comes_ends_no_process(
    tmp_path: Path,
) -> None:
    with web_server(tmp_path, most_files=200) as (port, pid):
        children = Path(f"/proc/{pid}/task/{pid}/children")
        (worker,) = map(int, children.read_text().split())
        half = opened(port, 100, b"GET / HTTP/1.1\r\n")

        def held() -> list[socket.socket]:
            return [one for one in half if not is_cut_off(one)]

        assert until(lambda: len(held()) < 64 + THREADS)
        os.kill(worker, signal.SIGSTOP)
        assert until(lambda: ") T " in Path(f"/proc/{worker}/stat").read_text())
        (oldest, *_) = held()
        half += opened(port, 2, b"")
        oldest.sendall(b"Host: ")
        os.kill(worker, signal.SIGCONT)
        assert until(lambda: is_cut_off(oldest))
        assert status(port) == 200
        assert children.read_text().split() == [str(worker)]
        for one in half:
            one.close()


def test_half_a_request_behind_an_answered_one_is_waited_for(port: int) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as kept:
        for sent in (one + one[:-3], one[-3:]):
            kept.sendall(sent)
            seen = b""
            while not seen.rstrip().endswith(b"}"):
                seen += kept.recv(65536)
            assert seen.startswith(b"HTTP/1.1 200")


def test_a_large_body_is_read(port: int) -> None:
    assert status(port, b"x" * (1 << 20)) in {400, 401, 415, 422, 503}


def test_a_request_line_that_is_too_long_is_refused_in_every_clients_envelope(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/session-manager/activity?login=" + "x" * 9000)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert (answer.status, answer.headers["Content-Type"]) == (414, "application/problem+json")
    assert body["message"] == body["reason"] == body["detail"]
    assert {"data", "error", "suggestion", "title", "status"} <= set(body)
    assert status(port) == 200


@pytest.mark.faults
def test_who_never_finishes_is_cut_off(port: int) -> None:
    asked = b"GET /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    reading_nothing = opened(port, THREADS, asked, reads_bytes=2048)
    for sent in (b"", b"GET / HTTP/1.1\r\n", HEAD + b"Content-Length: 9000000\r\n\r\nhalf"):
        (slow,) = opened(port, 1, sent)
        with slow, suppress(ConnectionResetError):
            slow.settimeout(60)
            while slow.recv(65536):
                pass
    with soon():
        assert status(port) == 200
    for one in reading_nothing:
        one.close()
