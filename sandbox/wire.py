"""Answers on the wire: the ordinary one, and every way in which a server can misbehave."""

# ruff: noqa: ARG001  (all faults share one signature, and few need the request and the body)

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from functools import lru_cache

from aiohttp import web

CONTENT_TYPE = "text/javascript; charset=utf-8"
HTML = b"<html><head><title>Bad gateway</title></head><body><h1>Oops</h1></body></html>"
HUGE_BYTES = 200 * 1024 * 1024
BOMB_BYTES = 512 * 1024 * 1024
SLOW_BYTE_S = 2.0
MIB = 1024 * 1024


def encode(body: dict[str, object]) -> bytes:
    """Return an answer as JSON bytes; text that is no valid Unicode is written as escapes."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(body).encode()


def wants_gzip(request: web.BaseRequest) -> bool:
    """Whether the caller can read gzip."""
    return "gzip" in request.headers.get("Accept-Encoding", "")


def plain(request: web.BaseRequest, body: bytes, status: int = 200) -> web.Response:
    """Return the ordinary answer, compressed when asked for."""
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "private"}
    if wants_gzip(request):
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, 1, mtime=0)
    return web.Response(body=body, status=status, headers=headers)


def status_page(argument: str) -> web.Response:
    """Return a gateway's error page; `429:5` has the wait, in any form, behind the colon."""
    status, _, wait = argument.partition(":")
    headers = {"Retry-After": wait} if wait else {}
    body = b"" if int(status) in {204, 304} else HTML
    return web.Response(body=body, status=int(status), headers=headers, content_type="text/html")


async def misbehave(fault: str, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Answer a request as a fault demands; `body` is what a healthy server would have said."""
    return await WIRE[fault](request, body)


async def _reset(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # The other side may have gone first.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


async def _hang(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    # Ended by the caller going away, which cancels this handler, or by the server stopping.
    await asyncio.sleep(3600)
    return web.Response()


async def _open(
    request: web.BaseRequest, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE} | (headers or {}))
    await response.prepare(request)
    return response


async def _slow(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    response = await _open(request, {"Content-Length": str(len(body))})
    for place in range(len(body)):
        await response.write(body[place : place + 1])
        await asyncio.sleep(SLOW_BYTE_S)
    return response


async def _truncated(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return plain(request, body[: len(body) * 2 // 3])


async def _cut(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    response = await _open(request, {"Content-Length": str(len(body))})
    await response.write(body[: len(body) // 2])
    response.force_close()
    if request.transport is not None:
        request.transport.close()
    return response


async def _cut_gzip(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    whole = gzip.compress(body, mtime=0)
    return _ready(whole[: len(whole) // 2], {"Content-Encoding": "gzip"})


async def _gzip_bomb(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return _ready(await asyncio.to_thread(bomb), {"Content-Encoding": "gzip"})


async def _huge(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    response = await _open(request)
    block = b" " * (64 * 1024)
    for _ in range(HUGE_BYTES // len(block)):
        await response.write(block)
    await response.write(body)
    await response.write_eof()
    return response


async def _bom(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return plain(request, b"\xef\xbb\xbf" + body)


async def _wrong_type(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return _ready(body, {"Content-Type": "image/png"})


async def _redirect(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    # 307 keeps method and body: a caller that follows it has handed its secret on.
    return web.Response(status=307, headers={"Location": "/_redirected"})


def _fixed(body: bytes, content_type: str = CONTENT_TYPE) -> Answer:
    async def answer(request: web.BaseRequest, healthy: bytes) -> web.StreamResponse:
        return _ready(body, {"Content-Type": content_type})

    return answer


def _ready(body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE} | headers)


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """Return half a megabyte of gzip that unpacks to 512 MiB of blanks before its JSON.

    One flushed block is repeated, since a full flush makes blocks independent of each other.
    """
    block = b" " * MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    middle = raw.compress(block) + raw.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    tail = b'{"errorCode": 0, "results": [{"count(*)": 1}], "objectsCount": 1, "totalCount": 1}'
    end = last.compress(tail) + last.flush()
    checksum = 0
    for _ in range(BOMB_BYTES // MIB):
        checksum = zlib.crc32(block, checksum)
    trailer = struct.pack("<II", zlib.crc32(tail, checksum), (BOMB_BYTES + len(tail)) & 0xFFFFFFFF)
    return head + middle * (BOMB_BYTES // MIB - 1) + end + trailer


Answer = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]
WIRE: dict[str, Answer] = {
    "reset": _reset,
    "hang": _hang,
    "slow": _slow,
    "truncated": _truncated,
    "cut": _cut,
    "cut-gzip": _cut_gzip,
    "gzip-bomb": _gzip_bomb,
    "huge": _huge,
    "html": _fixed(HTML, "text/html"),
    "empty": _fixed(b""),
    "null": _fixed(b"null"),
    "array": _fixed(b"[]"),
    "bom": _bom,
    "wrong-type": _wrong_type,
    "redirect": _redirect,
}
