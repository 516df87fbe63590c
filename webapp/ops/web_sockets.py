"""The sockets of the web server: one that spares calls of the system, one that keeps a pace."""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import Any

# How long a head, with a small body, may take to come (seconds), whatever it trickles in with.
REQUEST_S = 20.0
# How long a thread stays with a connection it has answered, for a next request.
STAY_S = 0.01
_STAY = struct.pack("ll", 0, int(STAY_S * 1_000_000))
# How long a reader may take nothing of what is sent to him (seconds); he holds a thread meanwhile.
SEND_S = 30.0
_SEND = struct.pack("ll", int(SEND_S), 0)
# A large body: how long its sender may be silent, and what it has to send on average.
SILENT_S = 10.0
BODY_BYTES_PER_S = 4 * 1024


class ThriftySocket(socket.socket):
    """A socket that asks the system for nothing twice: each call of it lets other threads run.

    To be told how long to wait costs nothing until something is read, and the head of an answer
    waits for what follows it.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        super().setblocking(True)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _STAY)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND)
        self._wanted = self._told = super().gettimeout()
        self._held = b""
        self._holds = True

    def gettimeout(self) -> float | None:
        """Return how long reading and writing may wait."""
        return self._wanted

    def settimeout(self, value: float | None) -> None:
        """Let reading and writing wait that long from now on."""
        self._wanted = value

    def setblocking(self, flag: bool) -> None:
        """Let reading and writing wait for ever, or not at all."""
        self._wanted = None if flag else 0.0

    def _tell(self) -> None:
        if self._told != self._wanted:
            super().settimeout(self._wanted)
            self._told = self._wanted

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return what has come, as a socket does."""
        self._tell()
        return super().recv(bufsize, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send, the first piece of an answer together with the second.

        Raises: ConnectionResetError where the reader takes nothing for SEND_S
        """
        if self._holds:
            self._held, self._holds = data, False
            return
        self._tell()
        try:
            super().sendall(self._held + data if self._held else data, flags)
        except BlockingIOError:
            raise _has_stopped() from None
        finally:
            self._held = b""

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send what was held, then a file."""
        self.sendall(b"")
        self.settimeout(SEND_S)
        try:
            return super().sendfile(file, offset, count)
        except TimeoutError:
            raise _has_stopped() from None
        finally:
            self.setblocking(True)

    def flush(self) -> None:
        """Send what was held: the answer is over."""
        if self._held:
            self.sendall(b"")
        self._holds = True


def _has_stopped() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "the reader takes nothing")


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
