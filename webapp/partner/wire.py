"""One POST and its whole answer: kept-open connections, a deadline, a cap on the unpacked size."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from webapp.partner.sockets import POOLS, Watch, tls_context, watched_by

_CHUNK = 64 * 1024


class BodyTooLong(Exception):
    """The answer is larger than its method may answer."""


class BodyBroken(Exception):
    """The answer's compression is cut short, damaged, or of a kind never asked for."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, whole and unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class DeadlineAdapter(HTTPAdapter):
    """A requests adapter whose sockets obey the watch of the thread that uses them."""

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **kwargs: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=tls_context(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Certificates are always checked, by the context above; nothing is loaded per call."""
        conn.cert_reqs = "CERT_REQUIRED"


class Wire:
    """A pool of kept-open connections that POSTs forms and reads whole answers."""

    def __init__(self, size: int) -> None:
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy and no .netrc of the machine sees the secret
        adapter = DeadlineAdapter(pool_connections=16, pool_maxsize=size)
        self._http.mount("https://", adapter)
        self._http.mount("http://", adapter)
        self._headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "User-Agent": "partner-use-report",
        }

    def post(self, url: str, form: str, watch: Watch, connect_s: float, cap: int) -> Reply:
        """Return the answer, whole and unpacked, however it was sent.

        Goes to the adapter directly: Session.send would follow a redirect's body without a cap,
        and keeps cookies. Raises what requests and urllib3 raise, BodyTooLong, BodyBroken.
        """
        request = self._prepared(url, form)
        with watched_by(watch):
            response = self._http.get_adapter(url).send(
                request, stream=True, timeout=(connect_s, connect_s), verify=True
            )
            whole = False
            try:
                redirect = 300 <= response.status_code < 400
                body = b"" if redirect else _read(response, cap)
                whole = not redirect
            finally:
                if not whole:
                    response.close()
        return Reply(response.status_code, response.headers, body)

    def close(self) -> None:
        self._http.close()

    def _prepared(self, url: str, form: str) -> requests.PreparedRequest:
        body = form.encode("ascii")
        request = requests.PreparedRequest()
        request.method, request.url, request.body = "POST", url, body
        request.headers = CaseInsensitiveDict(self._headers)
        request.headers["Content-Length"] = str(len(body))
        return request


def _read(response: requests.Response, cap: int) -> bytes:
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and len(declared) < 20 and int(declared) > cap:
        raise BodyTooLong
    unpack = _unpacker(response.headers.get("Content-Encoding", ""))
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


def _unpacker(encoding: str) -> Any:
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    if name in {"gzip", "x-gzip"}:
        return zlib.decompressobj(31)
    if name == "deflate":
        return zlib.decompressobj(15)
    raise BodyBroken
