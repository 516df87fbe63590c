"""One POST and its whole answer: kept-open connections, a deadline, a cap on the unpacked size.

A timeout of requests is per read, so a partner that sends a byte every two seconds holds a caller
for ever. Here every read of a socket asks how much of the whole request's time is left, and looks
up every half second whether the work is still wanted, so that a cancelled report stops in
mid-answer.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from errno import EINPROGRESS, EWOULDBLOCK
from functools import cached_property
from typing import Any, TypeVar

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.wait import wait_for_write

_CHUNK = 64 * 1024
# How zlib reads each encoding of a body; 0 as it is.
_WINDOW_BITS = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 15}
T = TypeVar("T")


class Deadline:
    """The time one request has left, and the question whether it is still wanted."""

    def __init__(self, seconds: float, poll_s: float, check: Callable[[], None]) -> None:
        self.ends = time.monotonic() + seconds
        self._poll_s = poll_s
        self._check = check
        self._next_check = time.monotonic() + poll_s

    def slice_s(self, ends: float | None = None) -> float:
        """Return how long to wait at most before asking again.

        Raises: TimeoutError when the time is over, and whatever the check raises
        """
        now = time.monotonic()
        if now >= self._next_check:
            self._check()
            self._next_check = now + self._poll_s
        left = min(self.ends, ends or self.ends) - now
        if left <= 0:
            raise TimeoutError("the time for this request is over")
        return min(left, self._poll_s)


class _Current(threading.local):
    """What all sockets obey that a thread uses while it posts."""

    deadline: Deadline | None = None


_current = _Current()


def _by_deadline(sock: socket.socket, step: Callable[[], T]) -> T:
    """Do one blocking step of a socket, in slices, until it succeeds or the time is over."""
    deadline = _current.deadline
    if deadline is None:
        return step()
    while True:
        sock.settimeout(deadline.slice_s())
        try:
            return step()
        except TimeoutError:
            continue


class _Socket(socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return _by_deadline(self, lambda: super(_Socket, self).recv_into(*args, **kwargs))


class _TlsSocket(ssl.SSLSocket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return _by_deadline(self, lambda: super(_TlsSocket, self).recv_into(*args, **kwargs))

    def do_handshake(self, block: bool = False) -> None:
        _by_deadline(self, lambda: super(_TlsSocket, self).do_handshake(block))


def _connected(host: str, port: int, seconds: float, options: Any) -> socket.socket:
    """Return a socket connected to a host's address; each address gets its share of the time."""
    ends = time.monotonic() + seconds
    deadline = _current.deadline or Deadline(seconds, 0.5, lambda: None)
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    trouble: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found):
        now = time.monotonic()
        with ExitStack() as undo:
            sock = undo.enter_context(_Socket(family, kind, protocol))
            try:
                for option in options or ():
                    sock.setsockopt(*option)
                sock.setblocking(False)
                code = sock.connect_ex(address)
                if code in (EINPROGRESS, EWOULDBLOCK):
                    share_ends = now + (ends - now) / (len(found) - number)
                    while not wait_for_write(sock, timeout=deadline.slice_s(share_ends)):
                        pass
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                sock.settimeout(seconds)
                undo.pop_all()
                return sock
            except OSError as error:
                trouble = error
    raise trouble or OSError("the host has no address")


class _ConnectsByDeadline:
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


class _Connection(_ConnectsByDeadline, HTTPConnection):
    pass


class _TlsConnection(_ConnectsByDeadline, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS: dict[str, Any] = {"http": _Pool, "https": _TlsPool}


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, certifi's and those of a file."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if ca_file:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    return context


class BodyTooLong(Exception):
    """The answer is larger than its method may answer."""


class BodyBroken(Exception):
    """The answer's compression is cut short, damaged, or of a kind never asked for."""


@dataclass(frozen=True)
class HttpResponse:
    """An HTTP answer, whole and unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class DeadlineAdapter(HTTPAdapter):
    """A requests adapter whose sockets obey the deadline of the thread that uses them."""

    def __init__(self, size: int, ca_file: str) -> None:
        self._ca_file = ca_file
        super().__init__(pool_connections=16, pool_maxsize=size)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """Return the context of all connections; reading authorities takes 40 ms, once."""
        return tls_context(self._ca_file)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **kwargs: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Certificates are always checked, by the context above; nothing is loaded per call."""
        conn.cert_reqs = "CERT_REQUIRED"
        if isinstance(conn, HTTPSConnectionPool):
            conn.conn_kw["ssl_context"] = self._context


class Transport:
    """A pool of kept-open connections that POSTs forms and reads whole answers.

    proxy:   its URL, "" for none
    ca_file: certificates trusted beside the system's
    """

    def __init__(
        self, size: int, *, proxy: str = "", ca_file: str = "", user_agent: str = ""
    ) -> None:
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy and no .netrc of the machine sees the secret
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        adapter = DeadlineAdapter(size, ca_file)
        self._http.mount("https://", adapter)
        self._http.mount("http://", adapter)
        self._headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "User-Agent": user_agent or "partner-use-report",
        }

    def post(
        self, url: str, form: str, deadline: Deadline, connect_s: float, cap: int
    ) -> HttpResponse:
        """Return the answer, whole and unpacked, however it was sent.

        Goes to the adapter directly: Session.send would follow a redirect's body without a cap,
        and keeps cookies. Raises what requests and urllib3 raise, BodyTooLong, BodyBroken.
        """
        body = form.encode("ascii")
        request = requests.PreparedRequest()
        request.method, request.url, request.body = "POST", url, body
        request.headers = CaseInsensitiveDict(self._headers)
        request.headers["Content-Length"] = str(len(body))
        _current.deadline = deadline
        try:
            response = self._http.get_adapter(url).send(
                request,
                stream=True,
                timeout=(connect_s, connect_s),
                verify=True,
                proxies=self._proxies,
            )
            whole = False
            try:
                redirect = 300 <= response.status_code < 400
                unpacked = b"" if redirect else _unpacked_body(response, cap)
                whole = not redirect
            finally:
                if not whole:
                    response.close()
        finally:
            _current.deadline = None
        return HttpResponse(response.status_code, response.headers, unpacked)

    def close(self) -> None:
        self._http.close()


def _unpacked_body(response: requests.Response, cap: int) -> bytes:
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and len(declared) < 20 and int(declared) > cap:
        raise BodyTooLong
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _WINDOW_BITS:
        raise BodyBroken
    bits = _WINDOW_BITS[encoding]
    unpack = zlib.decompressobj(bits) if bits else None
    parts: list[bytes] = []
    size = 0
    while chunk := response.raw.read(_CHUNK, decode_content=False):
        try:
            part = unpack.decompress(chunk, cap - size + 1) if unpack else chunk
        except zlib.error:
            raise BodyBroken from None
        size += len(part)
        if size > cap:
            raise BodyTooLong
        parts.append(part)
    if unpack and not unpack.eof:
        raise BodyBroken
    return b"".join(parts)
