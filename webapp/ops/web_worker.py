"""gunicorn's threaded worker, which gives a connection a thread only once its request is there.

By itself it reads requests in its threads and waits for what is missing without end: as many half
requests as there are threads stop the site. Here the loop that accepts connections looks, without
taking anything out of the socket, whether head and body have come, and closes what is too slow.
A body that is too large to wait for is read by a thread; only some threads may do that at a time,
and each of them cuts off a sender who is slower than a modem.

A request line that is too long never reaches the application, which knows the envelopes of its
addresses; so the refusal has the members of all of them, and each client finds its own.
"""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import time
from functools import partial
from typing import Any

from gunicorn.http.errors import LimitRequestLine
from gunicorn.workers.gthread import TConn, ThreadWorker

# How long a head, with a small body, may take to come (seconds), whatever it trickles in with.
REQUEST_S = 20.0
SMALL_BODY_BYTES = 32 * 1024
HEAD_BYTES = 64 * 1024
# A large body: how long its sender may be silent, and what it has to send on average.
SILENT_S = 10.0
BODY_BYTES_PER_S = 4 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n", re.I)
_SENT_LATER = re.compile(rb"\r\n(?:expect|transfer-encoding):", re.I)
WHOLE, INCOMPLETE, LARGE = "whole", "incomplete", "large"
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Length: 0\r\n\r\n"
)
_TOO_LONG = "The address with its query is too long: send less in it."
TOO_LONG = {
    "type": "/api/errors/uri-too-long",
    "title": "URI Too Long",
    "status": 414,
    "detail": _TOO_LONG,
    "message": _TOO_LONG,
    "data": [],
    "error": "414",
    "reason": _TOO_LONG,
    "suggestion": "Ask for less at once.",
}


class PacedSocket:
    """What a large body is read from: raises TimeoutError for a sender who is too slow."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._began = time.monotonic()
        self._received = 0

    def __getattr__(self, name: str) -> Any:
        """Return whatever else is asked of a socket from the socket."""
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        """Return what has come, as a socket does."""
        until = self._began + REQUEST_S + self._received / BODY_BYTES_PER_S
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the body comes too slowly")
        self._sock.settimeout(min(left_s, SILENT_S))
        try:
            found = self._sock.recv(size)
        finally:
            self._sock.setblocking(True)
        self._received += len(found)
        return found


class PatientWorker(ThreadWorker):
    """The threaded worker; its loop holds connections until their request can be served."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # With their deadlines; in the order of coming, which is that of the deadlines.
        self.incomplete: dict[TConn, float] = {}
        # Whose large bodies are read by threads now.
        self.large: set[TConn] = set()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; where there are too many, the oldest without a request goes."""
        if self.nr_conns >= self.worker_connections - 1 and self.incomplete:
            self._close_incomplete(next(iter(self.incomplete)), b"")
        super().accept(listener)

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection a thread if its request is there, else wait for more of it."""
        if self.cfg.is_ssl:  # what has come cannot be read without taking it
            super().enqueue_req(conn)
            return
        self.incomplete.setdefault(conn, time.monotonic() + REQUEST_S)
        seen = self._look(conn)
        state = WHOLE if seen is None else state_of(seen)
        if state == INCOMPLETE:
            self._wait(conn, len(seen or b""))
        elif state == LARGE and len(self.large) >= self.cfg.threads // 4:
            self._close_incomplete(conn, _FULL)
        else:
            del self.incomplete[conn]
            if state == LARGE:
                self.large.add(conn)
            conn.data_ready = True
            super().enqueue_req(conn)

    def _look(self, conn: TConn) -> bytes | None:
        """Return what of a request has come, left where it is; None for an end or an error."""
        had = conn.parser.unreader.buf.getvalue() if conn.parser is not None else b""
        try:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            more: bytes = conn.sock.recv(HEAD_BYTES + SMALL_BODY_BYTES, flags)
        except BlockingIOError:
            return bytes(had)
        except OSError:
            return None
        return had + more if more else None

    def _wait(self, conn: TConn, come_bytes: int) -> None:
        """Keep a connection in the loop; it is looked at again when more has come."""
        conn.sock.setblocking(False)
        # Else the loop would be told again and again of what it has seen.
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, come_bytes + 1)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._look_again, conn))

    def _look_again(self, conn: TConn, _sock: socket.socket) -> None:
        self.poller.unregister(conn.sock)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.enqueue_req(conn)

    def murder_pending(self) -> None:
        """Close connections whose request did not come in time; called by the loop."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn, deadline in self.incomplete.items() if deadline <= now]:
            self._close_incomplete(conn, _LATE)

    def _close_incomplete(self, conn: TConn, answer: bytes) -> None:
        del self.incomplete[conn]
        with contextlib.suppress(KeyError, ValueError):
            self.poller.unregister(conn.sock)
        with contextlib.suppress(OSError):
            conn.sock.send(answer, socket.MSG_DONTWAIT)
        self.nr_conns -= 1
        conn.close()

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Serve a request; a large body is read at a pace that is kept an eye on."""
        if conn in self.large:
            conn.parser.unreader.sock = PacedSocket(conn.sock)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that could not be read; one with too long a line in JSON."""
        if not isinstance(exc, LimitRequestLine):
            super().handle_error(req, client, addr, exc)
            return
        body = json.dumps(TOO_LONG).encode()
        head = (
            "HTTP/1.1 414 URI Too Long\r\nConnection: close\r\n"
            f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + body)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """Take a connection back from its thread."""
        if conn in self.large:
            self.large.discard(conn)
            if conn.parser is not None:
                conn.parser.unreader.sock = conn.sock
        super().finish_request(conn, fs)


def state_of(seen: bytes) -> str:
    """Return whether a request is whole, incomplete, or has a body too large to wait for."""
    head, end, body = seen.partition(b"\r\n\r\n")
    if not end:
        return WHOLE if len(seen) >= HEAD_BYTES else INCOMPLETE  # the parser refuses such a head
    if _SENT_LATER.search(head):
        return LARGE
    length = _LENGTH.search(head + b"\r\n")
    body_bytes = int(length[1]) if length else 0
    if len(body) >= body_bytes:
        return WHOLE
    return INCOMPLETE if body_bytes <= SMALL_BODY_BYTES else LARGE
