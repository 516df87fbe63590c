"""A partner that misbehaves: a real HTTP server on loopback which answers with whatever bytes.

A move is a function that is handed the open connection and the request, and writes what it likes.
Moves are played in order, the last one again and again; `script` may choose one by the request.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

CALL_ID = "0123456789abcdef0123456789abcdef"


@dataclass
class Asked:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    form: dict[str, str]
    at: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    @property
    def data_center(self) -> str:
        return self.path.split("/")[1].split(".")[-1]

    @property
    def method(self) -> str:
        return self.path.rsplit("/", 1)[-1]


Move = Callable[[socket.socket, Asked], None]


class BadServer:
    """The server; a context manager that leaves no thread and no socket behind."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.asked: list[Asked] = []
        self.moves: list[Move] = [answer({})]
        self.script: Callable[[Asked], Move] | None = None
        self.connections = 0
        self.over = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def template(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/{{namespace}}.{{data_center}}"

    def plays(self, *moves: Move) -> None:
        self.moves = list(moves)

    def __enter__(self) -> BadServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError, ValueError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self._open.add(connection)
            with connection, connection.makefile("rb") as lines:
                while asked := _read(lines):
                    with self._lock:
                        self.asked.append(asked)
                        move = self._next(asked)
                    move(connection, asked)
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _next(self, asked: Asked) -> Move:
        if self.script:
            return self.script(asked)
        return self.moves.pop(0) if len(self.moves) > 1 else self.moves[0]

    def hang(self, connection: socket.socket, asked: Asked) -> None:
        """A move: say nothing at all until the server is closed."""
        self.over.wait(300)

    def drip(self, whole: bytes, every_s: float = 0.06) -> Move:
        """Return a move that sends one byte at a time, for ever slower than any patience."""

        def move(connection: socket.socket, asked: Asked) -> None:
            for byte in whole:
                if self.over.wait(every_s):
                    return
                connection.sendall(bytes([byte]))

        return move


def _read(lines: Any) -> Asked | None:
    line = lines.readline().decode("latin-1").strip()
    if not line:
        return None
    headers: dict[str, str] = {}
    while header := lines.readline().decode("latin-1").strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = lines.read(int(headers.get("content-length", 0))).decode("ascii")
    pairs = parse_qs(body, keep_blank_values=True, errors="surrogateescape")
    return Asked(line, headers, {name: values[0] for name, values in pairs.items()})


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    """Return a whole HTTP answer; header names are written with underscores."""
    head = {"Content_Type": "text/javascript", "Content_Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def raw(data: bytes, *, close: bool = False) -> Move:
    def move(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(data)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return move


def envelope(body: dict[str, Any]) -> bytes:
    return json.dumps({"callId": CALL_ID, "errorCode": 0, **body}).encode()


def answer(body: dict[str, Any], status: int = 200, **headers: str) -> Move:
    """A well-formed answer; errorCode 0 unless the body says otherwise."""
    return raw(http(envelope(body), status, **headers))


def refusal(code: int, details: str = "", status: int = 200, **body: Any) -> Move:
    return answer(
        {"errorCode": code, "errorMessage": "Refused", "errorDetails": details, **body}, status
    )


def zipped(body: bytes, cut: int | None = None) -> Move:
    return raw(http(gzip.compress(body)[:cut], Content_Encoding="gzip"))


def reset(connection: socket.socket, asked: Asked) -> None:
    """A move: hang up with a TCP reset instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionAbortedError  # the server closes at once, and lingering for 0 s is a reset
