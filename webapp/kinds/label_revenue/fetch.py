"""Track metadata from a URL: with timeouts, a limit of size, patience, and the last good copy.

A page's URL comes from a person on the network, so private addresses are refused there; the
address that was connected to is what counts, not what a name resolved to a moment before.
"""

from __future__ import annotations

import hashlib
import ipaddress
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from webapp.errors import InvalidParams
from webapp.kinds.label_revenue.formats import BadFile
from webapp.kinds.label_revenue.rows import json_items

CONNECT_S, READ_S, WHOLE_S = 5.0, 30.0, 300.0
TRIES = 4
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
MOST_BYTES = 512 * 1024 * 1024
MOST_REDIRECTS = 3
CHUNK = 1 << 16


class _Again(Exception):
    """Trouble that may pass: a timeout, a refused connection, 429, 5xx."""


@dataclass(frozen=True)
class Fetched:
    """Where the tracks are now, and a sentence where they are not fresh."""

    path: Path
    note: str = ""


def is_url(text: str) -> bool:
    """Return whether a text names a web address rather than a file."""
    return urlsplit(text).scheme.lower() in {"http", "https"}


def fetch_tracks(
    url: str,
    folder: Path,
    *,
    private_allowed: bool,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Return the tracks of a URL as a file; the last good copy where the URL stays away.

    folder: where the company's good copies are kept
    Raises: InvalidParams with the sentence of what went wrong, where there is no copy either
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
    partial = copy.with_suffix(f".{random.getrandbits(32):08x}.part")
    trouble = ""
    try:
        for attempt in range(TRIES):
            if attempt:
                pause(_pause_s(attempt))
            try:
                _download(url, partial, private_allowed=private_allowed)
                _check_is_list(partial)
                partial.replace(copy)
                return Fetched(copy)
            except (_Again, BadFile) as error:
                trouble = str(error)
                if isinstance(error, BadFile):
                    break
    finally:
        partial.unlink(missing_ok=True)
    if copy.exists():
        age = time.strftime("%Y-%m-%d %H:%M", time.gmtime(copy.stat().st_mtime))
        return Fetched(copy, f"The tracks are the last good copy, of {age} UTC: {trouble}")
    raise InvalidParams({"tracks": f"The tracks could not be fetched: {trouble}"})


def _pause_s(attempt: int) -> float:
    """Return how long to wait before a further try: twice as long each time, spread by chance."""
    longest = min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S)
    return longest * (0.5 + random.random() / 2)  # noqa: S311


def _check_is_list(path: Path) -> None:
    for _ in json_items(path):
        pass


def _download(url: str, target: Path, *, private_allowed: bool) -> None:
    deadline = time.monotonic() + WHOLE_S
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(MOST_REDIRECTS + 1):
            check_address(url, private_allowed=private_allowed)
            try:
                with session.get(
                    url,
                    stream=True,
                    timeout=(CONNECT_S, READ_S),
                    allow_redirects=False,
                    headers={"Accept": "application/json"},
                ) as answer:
                    _check_peer(answer, private_allowed=private_allowed)
                    if answer.is_redirect:
                        url = urljoin(url, answer.headers["Location"])
                        continue
                    _check_status(answer)
                    _save(answer, target, deadline)
                    return
            except requests.RequestException as error:
                raise _Again(f"{type(error).__name__} from the server.") from error
    raise InvalidParams({"tracks": "The address redirects too often."})


def _check_status(answer: requests.Response) -> None:
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _Again(f"the server answered {answer.status_code}.")
    if answer.status_code != 200:
        raise InvalidParams({"tracks": f"The server answered {answer.status_code}."})


def _save(answer: requests.Response, target: Path, deadline: float) -> None:
    size = 0
    with target.open("wb") as file:
        for chunk in answer.iter_content(CHUNK):
            size += len(chunk)
            if size > MOST_BYTES:
                raise InvalidParams({"tracks": "The tracks are larger than 512 MB."})
            if time.monotonic() > deadline:
                raise _Again("the server took longer than five minutes.")
            file.write(chunk)


def check_address(url: str, *, private_allowed: bool) -> None:
    """Refuse what is not http(s), carries a password, or resolves to a private address.

    Raises: InvalidParams
    """
    parts = urlsplit(url)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise InvalidParams({"tracks": "Write an address that begins with https:// or http://."})
    if parts.username or parts.password:
        raise InvalidParams({"tracks": "Write the address without a user name and password."})
    if private_allowed:
        return
    try:
        port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError):
        raise InvalidParams({"tracks": "There is no server of that name."}) from None
    for entry in found:
        _check_public(str(entry[4][0]))


def _check_peer(answer: requests.Response, *, private_allowed: bool) -> None:
    """Look at the address that was really connected to: a name may resolve anew in between."""
    if private_allowed:
        return
    connection: Any = getattr(answer.raw, "connection", None) or getattr(
        answer.raw, "_connection", None
    )
    sock = getattr(connection, "sock", None)
    if sock is None:
        raise InvalidParams({"tracks": "The server closed before its address could be checked."})
    _check_public(str(sock.getpeername()[0]))


def _check_public(address: str) -> None:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    if not (mapped or ip).is_global or ip.is_multicast:
        raise InvalidParams(
            {"tracks": "The address is inside a private network; pages may not read from there."}
        )
