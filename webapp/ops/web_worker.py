"""gunicorn's threaded worker, which gives a connection a thread only once its request is there.

By itself it reads requests in its threads and waits for what is missing without end: as many half
requests as there are threads stop the site. Here the loop that accepts connections looks, without
taking anything out of the socket, whether head and body have come, and closes what is too slow.
A body that is too large to wait for is read by a thread; only some threads may do that at a time,
and each of them cuts off a sender who is slower than a modem. A connection that is not kept waits
in the loop for its client to close it, too: gunicorn's loop would wait for one after the other, two
seconds each, and for nobody else. Who reads nothing of an answer is cut off by its socket.

A request line that is too long never reaches the application, which knows the envelopes of its
addresses; so the refusal has the members of all of them, and each client finds its own.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from gunicorn.http.errors import LimitRequestLine
from gunicorn.workers.gthread import TConn, ThreadWorker

from webapp.ops.web_sockets import REQUEST_S, PacedSocket, ThriftySocket

SMALL_BODY_BYTES = 32 * 1024
HEAD_BYTES = 64 * 1024
# How long, and for how much more, a client is listened to that was told that this is all.
LINGER_S, LINGER_BYTES = 2.0, 64 * 1024
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


class Served(NamedTuple):
    """What became of a connection; gunicorn reads it as the future that its own pool returns."""

    is_kept: Any

    def cancelled(self) -> bool:
        """Say that it was served."""
        return False

    def result(self) -> Any:
        """Return whether the connection is kept."""
        return self.is_kept


class Threads:
    """Daemon threads that take work off a queue, started as they are needed.

    The standard library's pool makes a future with its locks for each call, which costs as much as
    reading a request. Work is handed over by one thread, the loop's.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._started = 0
        self.busy = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Have something done; who does it says so by making `busy` less."""
        self.busy += 1
        self._work.put(work)
        if self.busy > self._started < self._most:
            self._started += 1
            name = f"web-{self._started}"
            threading.Thread(target=self._loop, name=name, daemon=True).start()

    def _loop(self) -> None:
        while True:
            self._work.get()()

    @property
    def has_waiting(self) -> bool:
        """Return whether there is work that no thread has taken yet."""
        return not self._work.empty()

    def shutdown(self, *, wait: bool) -> None:
        """Do nothing: the threads end with the process."""


class PatientWorker(ThreadWorker):
    """The threaded worker; its loop holds connections until their request can be served."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # With their deadlines; in the order of coming, which is that of the deadlines.
        self.incomplete: dict[TConn, float] = {}
        # Whose large bodies are read by threads now.
        self.large: set[TConn] = set()
        # Answered for the last time: until when they are waited for, and how much they may send.
        self.lingering: dict[TConn, tuple[float, int]] = {}

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; where there are too many, the oldest without a request goes."""
        if self.nr_conns >= self.worker_connections - 1:
            if self.lingering:
                self._close_lingering(next(iter(self.lingering)))
            elif self.incomplete:
                self._close_incomplete(next(iter(self.incomplete)), b"")
        super().accept(listener)

    def enqueue_req(self, conn: TConn, seen_bytes: int = 0) -> None:
        """Give a connection a thread if its request is there, else wait for more of it.

        seen_bytes: so many were left in the socket at the last look
        """
        if not isinstance(conn.sock, ThriftySocket):
            conn.sock = ThriftySocket(conn.sock)
        self.incomplete.setdefault(conn, time.monotonic() + REQUEST_S)
        seen, left_bytes = self._look(conn) or (None, 0)
        state = WHOLE if seen is None else state_of(seen)
        if state == INCOMPLETE and left_bytes == seen_bytes and has_ended(conn.sock):
            # Else the loop would be told of the end again and again.
            self._close_incomplete(conn, b"")
        elif state == INCOMPLETE:
            self._wait(conn, left_bytes)
        elif state == LARGE and len(self.large) >= self.cfg.threads // 4:
            self._close_incomplete(conn, _FULL)
        else:
            del self.incomplete[conn]
            if state == LARGE:
                self.large.add(conn)
            conn.data_ready = True
            self.tpool.submit(partial(self._serve, conn))

    def get_thread_pool(self) -> Threads:
        """Return what serves requests."""
        return Threads(self.cfg.threads)

    def _serve(self, conn: TConn) -> None:
        """Serve a connection, in a thread, and what it asks right after that."""
        is_kept = self.handle(conn)
        while is_kept and self._asks_again(conn):
            is_kept = self.handle(conn)
        self.method_queue.defer(self.finish_request, conn, Served(is_kept))

    def _asks_again(self, conn: TConn) -> bool:
        """Return whether the next whole request has come, or an end, before others need us.

        Programs that send a lot ask again at once: the way through the loop, and to another thread,
        would cost them more than most answers.
        """
        unreader = conn.parser.unreader
        is_free = self.alive and conn not in self.large and not self.tpool.has_waiting
        if not is_free or unreader.buf.getvalue():
            return False
        conn.sock.setblocking(True)
        try:
            seen = conn.sock.recv(SMALL_BODY_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return True
        unreader.unread(seen)
        return not seen or state_of(seen) == WHOLE

    def _look(self, conn: TConn) -> tuple[bytes, int] | None:
        """Return what of a request has come, and how much of it is left where it is.

        None for an end or an error.
        """
        had = conn.parser.unreader.buf.getvalue() if conn.parser is not None else b""
        try:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            more = conn.sock.recv(HEAD_BYTES + SMALL_BODY_BYTES, flags)
        except BlockingIOError:
            return had, 0
        except OSError:
            return None
        return (had + more, len(more)) if more else None

    def _wait(self, conn: TConn, come_bytes: int) -> None:
        """Keep a connection in the loop; it is looked at again when more has come."""
        # Else the loop would be told again and again of what it has seen.
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, come_bytes + 1)
        self.poller.register(
            conn.sock, selectors.EVENT_READ, partial(self._look_again, conn, come_bytes)
        )

    def _look_again(self, conn: TConn, seen_bytes: int, _sock: socket.socket) -> None:
        if conn not in self.incomplete:
            return  # It was closed after the loop had been told of more.
        self.poller.unregister(conn.sock)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.enqueue_req(conn, seen_bytes)

    def murder_pending(self) -> None:
        """Close connections whose request did not come in time; called by the loop."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn, deadline in self.incomplete.items() if deadline <= now]:
            self._close_incomplete(conn, _LATE)
        for conn in [conn for conn, (until, _) in self.lingering.items() if until <= now]:
            self._close_lingering(conn)

    def _close_incomplete(self, conn: TConn, answer: bytes) -> None:
        del self.incomplete[conn]
        with contextlib.suppress(OSError):
            conn.sock.send(answer, socket.MSG_DONTWAIT)
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Serve a request; a large body is read at a pace that is kept an eye on."""
        if conn in self.large:
            conn.parser.unreader.sock = PacedSocket(conn.sock)
        is_kept = super().handle_request(req, conn)
        conn.sock.flush()
        return is_kept

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that could not be read; one with too long a line in JSON."""
        if not isinstance(exc, LimitRequestLine):
            super().handle_error(req, client, addr, exc)
            with contextlib.suppress(OSError):
                client.flush()
            return
        body = json.dumps(TOO_LONG).encode()
        head = (
            "HTTP/1.1 414 URI Too Long\r\nConnection: close\r\n"
            f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + body)
            client.flush()

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """Take a connection back from its thread."""
        self.tpool.busy -= 1
        if conn in self.large:
            self.large.discard(conn)
            if conn.parser is not None:
                conn.parser.unreader.sock = conn.sock
        if fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """Say that this is all, and wait in the loop until the client closes the connection.

        One that is closed with something unread in it takes the end of the answer along.
        """
        self.lingering[conn] = (time.monotonic() + LINGER_S, LINGER_BYTES)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._hear_out, conn))
        except (OSError, ValueError):  # It is gone already.
            self._close_lingering(conn)

    def _hear_out(self, conn: TConn, _sock: socket.socket) -> None:
        if conn not in self.lingering:
            return  # As above.
        until, left_bytes = self.lingering[conn]
        try:
            left_bytes -= len(conn.sock.recv(LINGER_BYTES)) or left_bytes
        except BlockingIOError:
            return
        except OSError:
            left_bytes = 0
        self.lingering[conn] = (until, left_bytes)
        if left_bytes <= 0:
            self._close_lingering(conn)

    def _close_lingering(self, conn: TConn) -> None:
        del self.lingering[conn]
        self._close(conn)


def has_ended(sock: socket.socket) -> bool:
    """Return whether nothing more can come; where the system does not tell, say that it may."""
    poller = select.poll()
    poller.register(sock, getattr(select, "POLLRDHUP", 0))
    return bool(poller.poll(0))


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
