"""Track metadata from a URL, and its last good copy for when the URL stays away."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from flask import current_app
from urllib3.util import Retry

from webapp.errors import InvalidParams
from webapp.intake import BadFile, json_items
from webapp.lib.fetching import PATIENT, Unfetchable, download

MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Fetched:
    """Where the tracks are now, and a sentence where they are not fresh."""

    path: Path
    note: str = ""


def is_url(text: str) -> bool:
    """Return whether a text names a web address rather than a file."""
    return text.lower().startswith(("http://", "https://"))


def fetch_tracks(
    url: str, folder: Path, *, private_allowed: bool, retry: Retry = PATIENT
) -> Fetched:
    """Return the tracks of a URL as a file; the last good copy where the URL stays away.

    folder: where the company's good copies are kept
    Raises: InvalidParams with the sentence of what went wrong, where there is no copy either
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = copy_of(url, folder)
    partial = copy.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        download(url, partial, MOST_BYTES, private_allowed=private_allowed, retry=retry)
        for _ in json_items(partial):
            pass
        partial.replace(copy)
        return Fetched(copy)
    except InvalidParams as error:
        raise InvalidParams({"tracks": error.message}) from error
    except (Unfetchable, BadFile) as error:
        trouble = str(error)
    finally:
        partial.unlink(missing_ok=True)
    if copy.exists():
        age = time.strftime("%Y-%m-%d %H:%M", time.gmtime(copy.stat().st_mtime))
        return Fetched(copy, f"The tracks are the last good copy, of {age} UTC: {trouble}")
    raise InvalidParams({"tracks": f"The tracks could not be fetched: {trouble}"})


def copies_of(company_id: str) -> Path:
    """Return where a company's last good copies of tracks are kept."""
    return Path(current_app.config["DATA_DIR"]) / "label_revenue" / company_id / "tracks"


def copy_of(url: str, folder: Path) -> Path:
    """Return where the last good copy of a URL is, if there is one."""
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
