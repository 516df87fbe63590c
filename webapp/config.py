"""Every setting once: name, default, unit, environment variable, one line of help.

How the text of each is read stands in `setting_values`. They are read when the application is made
and fail there, by name. A secret has no default outside tests: SECRET_KEY is made once and kept
0600 under DATA_DIR.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from webapp.setting_values import (
    database,
    files_url,
    flag,
    number,
    one_of,
    partner_url,
    redis,
    spelled,
    text,
    tries,
    whole,
    zone,
)


class BadSetting(SystemExit):
    """A setting that cannot be used; the process ends with the sentence and exit code 2."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(2)
        self.name, self.sentence = name, sentence
        # Of itself a SystemExit prints a sentence or has a code, never both.
        sys.stderr.write(f"{self}\n")

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"


@dataclass(frozen=True)
class Setting:
    """One setting: environment variable, default as text, how it is read, one line of help."""

    name: str
    default: str
    parse: Callable[[str], Any]
    help: str


SETTINGS: tuple[Setting, ...] = (
    Setting("DATA_DIR", "var", text, "folder that everything of the embedded default is kept in"),
    Setting("DATABASE_URL", "", database, "SQLAlchemy URL; empty: a SQLite file under DATA_DIR"),
    Setting("REDIS_URL", "", redis, "empty: the embedded Redis that `flask up` starts"),
    Setting("SECRET_KEY", "", text, "signs and seals; empty: made once, kept under DATA_DIR"),
    Setting("SECRET_KEY_PREVIOUS", "", text, "the key before, still read while keys are rotated"),
    Setting("HOST", "127.0.0.1", text, "address the web server listens on"),
    Setting("PORT", "5000", whole(0, 65535), "port the web server listens on"),
    Setting("WEB_THREADS", "256", whole(4, 4096), "threads of the web process; a stream holds one"),
    Setting("WEB_PROCESSES", "1", whole(1, 64), "web processes of one server; 1 with SQLite"),
    Setting("BEHIND_PROXIES", "0", whole(0, 5), "reverse proxies whose X-Forwarded-* are believed"),
    Setting("COOKIE_SECURE", "false", flag, "true where the site is served over https"),
    Setting("PARTNER_API_URL", "", partner_url, "stand-in URL template; empty: the real hosts"),
    Setting("PARTNER_HOME_DATA_CENTER", "us1", text, "data centre asked for the list of sites"),
    Setting(
        "PARTNER_SEARCHES_PER_SECOND", "10", number(0, 10_000), "searches a second; 0: no limit"
    ),
    Setting(
        "PARTNER_CALLS_PER_SECOND", "100", number(0, 10_000), "other calls a second; 0: no limit"
    ),
    Setting("PARTNER_CONCURRENCY", "8", whole(1, 256), "requests in flight per report"),
    Setting(
        "PARTNER_READ_LIMIT", "5000", whole(0, 5000), "creation dates one search reads; 0: none"
    ),
    Setting(
        "PARTNER_SPLIT_SITES", "1000", whole(0, 1_000_000), "sites from which workers share; 0: no"
    ),
    Setting("PARTNER_HELPERS", "2", whole(0, 64), "other workers that take part in a large report"),
    Setting("MONTHS_KEPT_DAYS", "30", number(0, 36_500), "days a closed month stays fresh"),
    Setting("REPORTS_KEPT_DAYS", "365", number(1, 36_500), "days a finished report is kept"),
    Setting("AUDIT_KEPT_DAYS", "400", number(1, 36_500), "days an entry of the audit log is kept"),
    Setting(
        "INVENTORY_FILES_KEPT_DAYS",
        "30",
        number(0.01, 36_500),
        "days the files of an inventory report are kept",
    ),
    Setting(
        "FILES_URL", "", files_url, "object store of report files; empty: they are in the database"
    ),
    Setting("SESSION_TIMEZONE", "UTC", zone, "where days and months of session activity begin"),
    Setting(
        "SESSION_GRACE_SECONDS", "10", number(0, 3600), "gap between two pings still joined (s)"
    ),
    Setting(
        "FETCH_PRIVATE_ADDRESSES", "false", flag, "true: pages may fetch files from private hosts"
    ),
    Setting("STREAMING", "true", flag, "false: loaders poll instead of listening"),
    Setting("LEASE_SECONDS", "20", number(1, 600), "how long a silent worker keeps a report (s)"),
    Setting("MAX_ATTEMPTS", "3", whole(1, 20), "starts of a report before a lost worker ends it"),
    Setting("REPORT_TIMEOUT_SECONDS", "21600", whole(10, 604_800), "longest run of a report (s)"),
    Setting("HEARTBEAT_SECONDS", "10", number(0.2, 15), "comment in a quiet event stream (s)"),
    Setting("SIGN_IN_TRIES", "10 per minute", tries, "sign-ins per account and address"),
    Setting("LOG_FORMAT", "json", one_of("json", "text"), "text: for a terminal"),
    Setting(
        "LOG_LEVEL",
        "info",
        one_of("debug", "info", "warning", "error"),
        "least level that is told",
    ),
    Setting("QUEUE", "reports", text, "name of the RQ queue"),
)


def load_settings(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return every setting by name, read from the environment; `NAME_FILE` names a file instead.

    Raises: BadSetting, which names the setting and says what to write
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        raw = environ.get(setting.name)
        file_name = environ.get(f"{setting.name}_FILE")
        if raw is None and file_name:
            raw = _read(f"{setting.name}_FILE", file_name)
        try:
            values[setting.name] = setting.parse(setting.default if raw in (None, "") else raw)
        except ValueError as error:
            raise BadSetting(setting.name, str(error)) from error
    return values


def _read(name: str, file_name: str) -> str:
    try:
        return Path(file_name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise BadSetting(
            name, f"{file_name} cannot be read ({type(error).__name__}); name a text file"
        ) from error


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
    values["DATABASE_URL"] = database_url(values["DATABASE_URL"], data_dir)
    values["SQLALCHEMY_DATABASE_URI"] = values["DATABASE_URL"]
    values["REDIS_EMBEDDED"] = not values["REDIS_URL"]
    values["REDIS_URL"] = values["REDIS_URL"] or embedded_redis_url(data_dir)
    if len(values["SECRET_KEY"]) < 16:
        raise BadSetting("SECRET_KEY", "is shorter than 16 characters; use a long random text")
    return values


def database_url(raw: str, data_dir: Path) -> str:
    """Return a URL SQLAlchemy takes; a SQLite file under DATA_DIR where none is set."""
    return spelled(raw) if raw else f"sqlite:///{data_dir / 'app.sqlite3'}"


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
