"""What is kept under DATA_DIR, and the settings that depend on it where none is given.

SQLite file, socket of the embedded Redis, secret key. A secret has no default outside tests: the
key is made once and kept readable by its owner only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from webapp.config import BadSetting
from webapp.lib.settings import standard_scheme

LOCK_FILE = "up.lock"
STAND_IN_FILE = "partner_api_url"
# Public: the stand-in knows no other, and no real partner knows these.
STAND_IN_CREDENTIALS = {
    "partner_id": "70000001",
    "user_key": "demo-user-key",
    "user_secret": "ZGVtby1zZWNyZXQ=",
}


def complete_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Fill what depends on DATA_DIR (database, Redis socket, secret key) and what Flask reads."""
    data_dir = Path(values["DATA_DIR"]).resolve()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        values["SECRET_KEY"] = values["SECRET_KEY"] or kept_secret_key(data_dir)
    except OSError as error:
        reason = f"cannot be written ({type(error).__name__}); name a folder that can"
        raise BadSetting("DATA_DIR", reason) from error
    values["DATA_DIR"] = str(data_dir)
    sqlite_url = f"sqlite:///{data_dir / 'app.sqlite3'}"
    values["DATABASE_URL"] = standard_scheme(values["DATABASE_URL"]) or sqlite_url
    values["SQLALCHEMY_DATABASE_URI"] = values["DATABASE_URL"]
    # SQLite's writers of several processes would queue up.
    cores = 1 if values["DATABASE_URL"].startswith("sqlite") else (os.cpu_count() or 1)
    values["WEB_PROCESSES"] = values["WEB_PROCESSES"] or min(cores, 4)
    values["PARTNER_API_URL"] = values["PARTNER_API_URL"] or running_stand_in(data_dir)
    values["REDIS_EMBEDDED"] = not values["REDIS_URL"]
    values["REDIS_URL"] = values["REDIS_URL"] or embedded_redis_url(data_dir)
    if len(values["SECRET_KEY"]) < 16:
        raise BadSetting("SECRET_KEY", "is shorter than 16 characters; use a long random text")
    return values


def running_stand_in(data_dir: Path) -> str:
    """Return the URL of the stand-in that a `flask up` on this folder has started, if one runs.

    So that commands ask whom the site asks, and not the real partner with made-up credentials.
    """
    try:
        url = (data_dir / STAND_IN_FILE).read_text(encoding="ascii").strip()
        with (data_dir / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # somebody holds it, so what is written is true
        return url
    except OSError:
        return ""
    return ""


def embedded_redis_url(data_dir: Path) -> str:
    """Return the URL of the embedded Redis: a Unix socket under DATA_DIR.

    A socket's path may not be longer than 103 bytes (107 on Linux); for a longer DATA_DIR it is a
    short one made from it, the same in every process and private to its owner.
    """
    socket = data_dir / "redis" / "redis.sock"
    if len(os.fsencode(socket)) > 103:
        digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        socket = Path("/tmp") / f"partner-use-{os.getuid()}-{digest}" / "redis.sock"  # noqa: S108
    return f"unix://{quote(str(socket))}?db=0"


def kept_secret_key(data_dir: Path) -> str:
    """Return the installation's own key, made on first use and readable by its owner only."""
    path = data_dir / "secret_key"
    if not path.exists():
        # Written apart, then given its name: several processes start at once, the first one wins,
        # and nobody reads a file that is still empty.
        handle, made = tempfile.mkstemp(prefix="secret_key.", dir=data_dir)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(48))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                path.hardlink_to(made)
        finally:
            Path(made).unlink()
    return path.read_text(encoding="ascii").strip()
