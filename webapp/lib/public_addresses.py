"""Addresses on the network that a person names: none of them may lead into a private network. And
files fetched from them: with timeouts, retries that wait longer each time, limits.

What was connected to is what counts, not what a name resolved to a moment before.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError
from urllib3.util import Retry

from webapp.errors import InvalidParams

CONNECT_S, READ_S, WHOLE_S = 5.0, 30.0, 300.0
MOST_REDIRECTS = 3
CHUNK_BYTES = 1 << 16
# Asked again where trouble may pass; each wait is about twice the one before.
PATIENT = Retry(
    total=3,
    redirect=MOST_REDIRECTS,
    status_forcelist={429, 500, 502, 503, 504},
    allowed_methods={"GET"},
    backoff_factor=0.5,
    backoff_max=8.0,
    backoff_jitter=0.25,
    respect_retry_after_header=False,
    raise_on_status=False,
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NoSuchServer(InvalidParams):
    """422: the name is unknown, or there is no network to ask for it."""

    def __init__(self) -> None:
        super().__init__({"url": "There is no server of that name."})


def check_address(url: str, *, private_allowed: bool) -> None:
    """Refuse what is not http(s), carries a password, or resolves to a private address.

    Raises: NoSuchServer where the name is unknown, InvalidParams
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidParams({"url": "This is no address."}) from None
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise InvalidParams({"url": "Write an address that begins with https:// or http://."})
    if parts.username or parts.password:
        raise InvalidParams({"url": "Write the address without a user name and password."})
    if private_allowed:
        return
    try:
        port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError):
        raise NoSuchServer from None
    for entry in found:
        _check_public(str(entry[4][0]))


class _PublicHTTP(HTTPConnection):
    """A connection that ends before anything is sent where its other end is not public.

    What was connected to counts: a name may resolve anew after `check_address`.
    """

    def _new_conn(self) -> socket.socket:
        return _public(super()._new_conn())


class _PublicHTTPS(HTTPSConnection):
    """The same for TLS, before the handshake."""

    def _new_conn(self) -> socket.socket:
        return _public(super()._new_conn())


class _PublicHTTPPool(HTTPConnectionPool):
    ConnectionCls = _PublicHTTP


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPS


class PublicAdapter(HTTPAdapter):
    """Sends requests to public addresses only."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _PublicHTTPPool,
            "https": _PublicHTTPSPool,
        }


def _public(connected: socket.socket) -> socket.socket:
    try:
        _check_public(str(connected.getpeername()[0]))
    except BaseException:
        connected.close()
        raise
    return connected


def _check_public(address: str) -> None:
    ip = ipaddress.ip_address(address.partition("%")[0])
    found = [ip]
    if isinstance(ip, ipaddress.IPv6Address):
        # The IPv4 addresses that it stands for: mapped, 6to4, NAT64.
        found += [one for one in (ip.ipv4_mapped, ip.sixtofour) if one is not None]
        if ip in NAT64:
            found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    if not all(one.is_global and not one.is_multicast for one in found):
        raise InvalidParams(
            {"url": "The address is inside a private network; reports may not go there."}
        )


class Unfetchable(Exception):
    """The file could not be fetched; the sentence says why, without a capital at its start."""


def download(
    url: str, target: Path, most_bytes: int, *, private_allowed: bool, retry: Retry = PATIENT
) -> None:
    """Write what an address answers into a file.

    Raises: InvalidParams for an address not to be asked, Unfetchable for anything else
    """
    check_address(url, private_allowed=True)
    adapter = HTTPAdapter if private_allowed else _EachHopPublic
    with requests.Session() as session:
        session.trust_env = False
        session.max_redirects = MOST_REDIRECTS
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter(max_retries=retry))
        headers = {"Accept": "application/json"}
        try:
            with session.get(
                url, stream=True, timeout=(CONNECT_S, READ_S), headers=headers
            ) as answer:
                if answer.status_code != 200:
                    raise Unfetchable(f"the server answered {answer.status_code}.")
                _save(answer, target, most_bytes)
        except requests.exceptions.InvalidSchema as error:
            sentence = "Write an address that begins with https:// or http://."
            raise InvalidParams({"url": sentence}) from error
        except requests.TooManyRedirects as error:
            raise Unfetchable("the address redirects too often.") from error
        except requests.RequestException as error:
            if isinstance(getattr(error.args[0], "reason", None), NameResolutionError):
                raise Unfetchable("there is no server of that name.") from error
            raise Unfetchable(f"{type(error).__name__} from the server.") from error


class _EachHopPublic(PublicAdapter):
    """Looks at every address before it is connected to, those of redirects, too.

    Otherwise the answer would tell whether anything listens inside the private network.
    """

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        # An unknown name may become known: that is for the retries to find out.
        with suppress(NoSuchServer):
            check_address(request.url or "", private_allowed=False)
        return super().send(request, *args, **kwargs)


def _save(answer: requests.Response, target: Path, most_bytes: int) -> None:
    size, deadline = 0, time.monotonic() + WHOLE_S
    with target.open("wb") as file:
        for chunk in answer.iter_content(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise Unfetchable(f"they are larger than {most_bytes >> 20} MB.")
            if time.monotonic() > deadline:
                raise Unfetchable("the server took longer than five minutes.")
            file.write(chunk)
