"""Track metadata from a URL: with timeouts, a limit of size, patience, and the last good copy.

A page's URL comes from a person on the network, so private addresses are refused there; the
address that was connected to is what counts, not what a name resolved to a moment before.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from webapp.errors import InvalidParams
from webapp.intake import BadFile, json_items
from webapp.lib.public_addresses import NoSuchServer, PublicAdapter, check_address

CONNECT_S, READ_S, WHOLE_S = 5.0, 30.0, 300.0
TRIES = 4
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
MOST_BYTES = 512 * 1024 * 1024
MOST_REDIRECTS = 3
CHUNK = 1 << 16


class _Again(Exception):
    """Trouble that may pass: a timeout, a refused connection, an unknown name, 429, 5xx."""


class _Away(Exception):
    """The tracks are not there, and asking again would not help: 404, too many redirects."""


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
    copy = copy_of(url, folder)
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
            except _Again as error:
                trouble = str(error)
            except (_Away, BadFile) as error:
                trouble = str(error)
                break
    finally:
        partial.unlink(missing_ok=True)
    if copy.exists():
        age = time.strftime("%Y-%m-%d %H:%M", time.gmtime(copy.stat().st_mtime))
        return Fetched(copy, f"The tracks are the last good copy, of {age} UTC: {trouble}")
    raise InvalidParams({"tracks": f"The tracks could not be fetched: {trouble}"})


def copy_of(url: str, folder: Path) -> Path:
    """Return where the last good copy of a URL is, if there is one."""
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()}.json"


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
        if not private_allowed:
            for scheme in ("http://", "https://"):
                session.mount(scheme, PublicAdapter())
        for _ in range(MOST_REDIRECTS + 1):
            try:
                check_address(url, private_allowed=private_allowed)
                with session.get(
                    url,
                    stream=True,
                    timeout=(CONNECT_S, READ_S),
                    allow_redirects=False,
                    headers={"Accept": "application/json"},
                ) as answer:
                    if answer.is_redirect:
                        url = urljoin(url, answer.headers["Location"])
                        continue
                    _check_status(answer)
                    _save(answer, target, deadline)
                    return
            except NoSuchServer as error:
                raise _Again("there is no server of that name.") from error
            except InvalidParams as error:
                raise InvalidParams({"tracks": error.errors["url"]}) from None
            except requests.RequestException as error:
                raise _Again(f"{type(error).__name__} from the server.") from error
    raise _Away("the address redirects too often.")


def _check_status(answer: requests.Response) -> None:
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _Again(f"the server answered {answer.status_code}.")
    if answer.status_code != 200:
        raise _Away(f"the server answered {answer.status_code}.")


def _save(answer: requests.Response, target: Path, deadline: float) -> None:
    size = 0
    with target.open("wb") as file:
        for chunk in answer.iter_content(CHUNK):
            size += len(chunk)
            if size > MOST_BYTES:
                raise _Away("they are larger than 512 MB.")
            if time.monotonic() > deadline:
                raise _Again("the server took longer than five minutes.")
            file.write(chunk)
