"""Sockets that know when the whole request has to be over, and whether it is still wanted.

A timeout of requests is per read, so a partner that sends a byte every two seconds holds a caller
for ever. Here every read asks how much of the whole request's time is left, and looks up every
half second whether the work is still wanted, so that a cancelled report stops in mid-answer.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EINPROGRESS, EWOULDBLOCK
from typing import Any, TypeVar

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.wait import wait_for_write

T = TypeVar("T")


class Watch:
    """The time one request has left, and the question whether it is still wanted."""

    def __init__(self, seconds: float, poll_s: float, check: Callable[[], None]) -> None:
        self.deadline = time.monotonic() + seconds
        self._poll_s = poll_s
        self._check = check
        self._next_check = time.monotonic() + poll_s

    def slice_s(self, deadline: float | None = None) -> float:
        """Return how long to wait at most before asking again.

        Raises: TimeoutError when the time is over, and whatever the check raises
        """
        now = time.monotonic()
        if now >= self._next_check:
            self._check()
            self._next_check = now + self._poll_s
        left = min(self.deadline, deadline or self.deadline) - now
        if left <= 0:
            raise TimeoutError("the time for this request is over")
        return min(left, self._poll_s)


class _Current(threading.local):
    watch: Watch | None = None


_current = _Current()


@contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """All sockets this thread uses inside obey the watch."""
    _current.watch = watch
    try:
        yield
    finally:
        _current.watch = None


def _watched(sock: socket.socket, step: Callable[[], T]) -> T:
    """Do one blocking step of a socket, in slices, until it succeeds or the time is over."""
    watch = _current.watch
    if watch is None:
        return step()
    while True:
        sock.settimeout(watch.slice_s())
        try:
            return step()
        except TimeoutError:
            continue


class _Socket(socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return _watched(self, lambda: super(_Socket, self).recv_into(*args, **kwargs))


class _TlsSocket(ssl.SSLSocket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return _watched(self, lambda: super(_TlsSocket, self).recv_into(*args, **kwargs))

    def do_handshake(self, block: bool = False) -> None:
        _watched(self, lambda: super(_TlsSocket, self).do_handshake(block))


def _connected(host: str, port: int, seconds: float, options: Any) -> socket.socket:
    """Return a socket connected to a host's address; each address gets its share of the time."""
    ends = time.monotonic() + seconds
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    trouble: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found):
        share = (ends - time.monotonic()) / (len(found) - number)
        sock = _Socket(family, kind, protocol)
        done = False
        try:
            for option in options or ():
                sock.setsockopt(*option)
            _connect(sock, address, time.monotonic() + share)
            sock.settimeout(seconds)
            done = True
            return sock
        except OSError as error:
            trouble = error
        finally:
            if not done:
                sock.close()
    raise trouble or OSError("the host has no address")


def _connect(sock: socket.socket, address: Any, deadline: float) -> None:
    watch = _current.watch or Watch(deadline - time.monotonic(), 0.5, lambda: None)
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in (EINPROGRESS, EWOULDBLOCK):
        while not wait_for_write(sock, timeout=watch.slice_s(deadline)):
            pass
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


class _Dials:
    """What both kinds of connection share: a connect under the deadline."""

    def _new_conn(self) -> socket.socket:
        conn: Any = self
        try:
            return _connected(conn._dns_host, conn.port, conn.timeout, conn.socket_options)
        except socket.gaierror as error:
            raise NameResolutionError(conn.host, conn, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(conn, "the connection was not made in time") from error
        except OSError as error:
            raise NewConnectionError(conn, f"no connection: {error}") from error


class _Connection(_Dials, HTTPConnection):
    pass


class _TlsConnection(_Dials, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS: dict[str, Any] = {"http": _Pool, "https": _TlsPool}


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and certifi's, TLS 1.2 or newer."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    return context
