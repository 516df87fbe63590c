"""Addresses on the network that a person names: none of them may lead into a private network.

What was connected to is what counts, not what a name resolved to a moment before.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from webapp.errors import InvalidParams

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
