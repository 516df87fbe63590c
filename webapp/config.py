"""Every setting once: name, default, unit, bounds and one line of help.

They are read when the application is made, from the environment or from the file that `NAME_FILE`
names. One that cannot be used ends the process by name; the sentence never quotes what may hold a
secret. What depends on DATA_DIR is filled in by `webapp.data_dir`.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import limits
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from redis.connection import parse_url
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from webapp.mail import parse_smtp_url


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
class Unit:
    """What a number counts, in words for the page of settings."""

    name: str


def parsed_by(
    parse: Callable[[str], Any], sentence: str, *errors: type[Exception]
) -> AfterValidator:
    """Return the check of a text that, unless it is empty, has to be read without an error.

    sentence: with `{!r}` where the text may be quoted; most hold a password
    """

    bad: tuple[type[Exception], ...] = (ValueError, *errors)

    def check(text: str) -> str:
        try:
            if text:
                parse(text)
        except bad:
            raise ValueError(sentence.format(text)) from None
        return text

    return AfterValidator(check)


def check_partner_url(template: str) -> str:
    """Return the template if it may be used: https, or plain http to a loopback host."""
    parts = urlsplit(template.replace("{namespace}", "namespace").replace("{data_center}", "us1"))
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    is_safe = (parts.scheme == "https" and parts.hostname) or (parts.scheme == "http" and loopback)
    if template and not is_safe:
        raise ValueError("must be https://…; plain http is accepted for loopback hosts only")
    return template


DATA_CENTERS = ("us1", "eu1", "au1", "eu2", "cn1", "global", "ru1", "il1")


def check_data_center(name: str) -> str:
    """Return the name of a data centre that the partner has."""
    if name.strip().lower() not in DATA_CENTERS:
        raise ValueError(f"must be one of {', '.join(DATA_CENTERS)}")
    return name.strip().lower()


def check_proxy(url: str) -> str:
    """Return a proxy's URL; never quoted in an error, for it may hold a password."""
    parts = urlsplit(url)
    if url and not (parts.scheme in {"http", "https"} and parts.hostname):
        raise ValueError("must be http://host:port, or https://…")
    return url


def check_user_agent(text: str) -> str:
    """Return what may stand in a header."""
    if not ((text.isascii() and text.isprintable()) or not text):
        raise ValueError("must be printable ASCII, in one line")
    return text


def check_files_url(url: str) -> str:
    """Return the URL without a last slash; never quoted in an error, for it may hold a secret."""
    parts = urlsplit(url)
    if "@" in url or ":" in parts.netloc or "?" in url or "#" in url:
        raise ValueError(
            "names no user, key or option; those come from the store's own environment, "
            "such as AWS_ACCESS_KEY_ID"
        )
    is_folder = parts.scheme == "file" and not parts.netloc and parts.path.strip("/")
    is_bucket = parts.scheme in {"s3", "gs", "az"} and parts.netloc
    if url and not is_folder and not is_bucket:
        raise ValueError("is none of s3://bucket/prefix, gs://…, az://container/…, file:///folder")
    return url.rstrip("/")


def check_database_url(url: str) -> str:
    """Return a database's URL; never quoted in an error, for it may hold a password."""
    try:
        make_url(standard_scheme(url) or "sqlite://").get_dialect().import_dbapi()
    except (ArgumentError, ValueError):
        raise ValueError(
            "is not a database URL; write one like postgresql://user:password@host/name"
        ) from None
    except ImportError as error:
        raise ValueError(f"needs a driver that is not installed: {error.name}") from None
    return url


def standard_scheme(url: str) -> str:
    """Return a database's URL as SQLAlchemy takes it: `postgres://` is an old scheme."""
    return "postgresql://" + url[11:] if url.startswith("postgres://") else url


def check_smtp_url(url: str) -> str:
    """Return a mail server's URL; never quoted in an error, for it may hold a password."""
    if url:
        parse_smtp_url(url)
    return url


RedisUrl = parsed_by(parse_url, "is not a Redis URL; write one like redis://127.0.0.1:6379/0")
Limit = parsed_by(limits.parse, "{!r} is no limit; write one like 10 per minute")
CaFile = parsed_by(
    lambda path: ssl.create_default_context(cafile=path),
    "is no readable file of certificates (PEM)",
    OSError,
)
Zone = parsed_by(
    ZoneInfo, "{!r} is not a time zone; write one like Europe/Berlin", ZoneInfoNotFoundError
)
LowerCase = BeforeValidator(lambda raw: raw.strip().lower() if isinstance(raw, str) else raw)
Flag = Annotated[bool, LowerCase]
Days = Annotated[float, Unit("days")]
Seconds = Annotated[float, Unit("seconds")]
PerSecond = Annotated[float, Unit("per second")]


class NamedFileSource(EnvSettingsSource):
    """Takes a setting from the text file that `NAME_FILE` names, as secrets of containers are."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the file's text without the space around it, the setting's name, False.

        Raises: BadSetting where the file cannot be read
        """
        variable = f"{field_name}_FILE"
        file_name = self.env_vars.get(variable)
        if not file_name:
            return None, field_name, False
        try:
            return Path(file_name).read_text(encoding="utf-8").strip() or None, field_name, False
        except (OSError, ValueError) as error:
            reason = f"{file_name} cannot be read ({type(error).__name__}); name a text file"
            raise BadSetting(variable, reason) from error


class Settings(BaseSettings):
    """All settings. A text that is empty counts as not set; rooms read `app.config["NAME"]`."""

    model_config = SettingsConfigDict(
        case_sensitive=True,
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    DATA_DIR: str = "var"
    """folder that everything of the embedded default is kept in"""
    DATABASE_URL: Annotated[str, AfterValidator(check_database_url)] = ""
    """SQLAlchemy URL; empty: a SQLite file under DATA_DIR"""
    REDIS_URL: Annotated[str, RedisUrl] = ""
    """empty: the embedded Redis that `flask up` starts"""
    SECRET_KEY: str = ""
    """signs and seals; empty: made once, kept under DATA_DIR"""
    SECRET_KEY_PREVIOUS: str = ""
    """the key before, still read while keys are rotated"""
    HOST: str = "127.0.0.1"
    """address the web server listens on"""
    PORT: int = Field(default=5000, ge=0, le=65535)
    """port the web server listens on"""
    WEB_THREADS: int = Field(default=256, ge=4, le=4096)
    """threads of the web process; a stream holds one"""
    WEB_PROCESSES: int = Field(default=1, ge=1, le=64)
    """web processes of one server; 1 with SQLite"""
    BEHIND_PROXIES: int = Field(default=0, ge=0, le=5)
    """reverse proxies whose X-Forwarded-* are believed"""
    ALLOWED_HOSTS: str = ""
    """names this site is asked for by, with commas; empty: loopback and the machine's own name"""
    COOKIE_SECURE: Flag = False
    """true where the site is served over https"""
    PARTNER_API_URL: Annotated[str, AfterValidator(check_partner_url)] = ""
    """stand-in URL template; empty: the real hosts"""
    PARTNER_HOME_DATA_CENTER: Annotated[str, AfterValidator(check_data_center)] = "us1"
    """data centre asked for the list of sites"""
    PARTNER_PROXY: Annotated[str, AfterValidator(check_proxy)] = ""
    """proxy to the partner, http://host:port; empty: none"""
    PARTNER_CA_FILE: Annotated[str, CaFile] = ""
    """certificates (PEM) trusted beside the system's"""
    PARTNER_USER_AGENT: Annotated[str, AfterValidator(check_user_agent)] = ""
    """User-Agent of calls; empty: partner-use-report"""
    PARTNER_SEARCHES_PER_SECOND: PerSecond = Field(default=10, ge=0, le=10_000)
    """searches a second; 0: no limit"""
    PARTNER_CALLS_PER_SECOND: PerSecond = Field(default=100, ge=0, le=10_000)
    """other calls a second; 0: no limit"""
    PARTNER_CONCURRENCY: int = Field(default=8, ge=1, le=256)
    """requests in flight per report"""
    PARTNER_READ_LIMIT: int = Field(default=5000, ge=0, le=5000)
    """creation dates one search reads; 0: none"""
    MONTHS_KEPT_DAYS: Days = Field(default=30, ge=0, le=36_500)
    """how long a closed month stays fresh"""
    REPORTS_KEPT_DAYS: Days = Field(default=365, ge=1, le=36_500)
    """how long a finished report is kept"""
    AUDIT_KEPT_DAYS: Days = Field(default=400, ge=1, le=36_500)
    """how long an entry of the audit log is kept"""
    INVENTORY_FILES_KEPT_DAYS: Days = Field(default=30, ge=0.01, le=36_500)
    """how long the files of an inventory report are kept"""
    UPLOADS_KEPT_DAYS: Days = Field(default=7, ge=0.01, le=36_500)
    """how long an upload that nobody loaded is kept"""
    FILES_URL: Annotated[str, AfterValidator(check_files_url)] = ""
    """object store of report files and uploads; empty: they are in the database"""
    SESSION_TIMEZONE: Annotated[str, Zone] = "UTC"
    """where days and months of session activity begin"""
    SESSION_GRACE_SECONDS: Seconds = Field(default=10, ge=0, le=3600)
    """gap between two pings still joined"""
    FETCH_PRIVATE_ADDRESSES: Flag = False
    """true: pages may fetch files from private hosts"""
    MAIL_ATTACH_MB: Annotated[int, Unit("MB")] = Field(default=10, ge=0, le=100)
    """size of all files of a mail; above it, a link"""
    DELIVERY_FOLDERS: str = ""
    """what URLs that reports are put into must begin with, spaces between; empty: any"""
    PUBLIC_URL: str = ""
    """address that links in mails begin with; empty: http://HOST:PORT"""
    STREAMING: Flag = True
    """false: loaders poll instead of listening"""
    LEASE_SECONDS: Seconds = Field(default=20, ge=1, le=600)
    """how long a silent worker keeps a report"""
    MAX_ATTEMPTS: int = Field(default=3, ge=1, le=20)
    """starts of a report before a lost worker ends it"""
    COMPANY_RUNNING_MOST: int = Field(default=8, ge=1, le=1000)
    """reports of a company that are made at the same time"""
    COMPANY_WAITING_MOST: int = Field(default=500, ge=1, le=100_000)
    """reports of a company that may wait; past it, asking for one is answered 429"""
    RESULT_ROWS_MOST: int = Field(default=5_000_000, ge=100, le=100_000_000)
    """rows a result may have; past it the report fails with a sentence"""
    REPORT_TIMEOUT_SECONDS: Annotated[int, Unit("seconds")] = Field(
        default=21600, ge=10, le=604_800
    )
    """longest run of a report"""
    HEARTBEAT_SECONDS: Seconds = Field(default=10, ge=0.2, le=15)
    """time between comments in a quiet event stream"""
    SMTP_URL: Annotated[str, AfterValidator(check_smtp_url)] = ""
    """mail server: smtp://user:password@host:587?tls=starttls, smtps://…; empty: no mail"""
    MAIL_FROM: str = ""
    """sender of mails; empty: partner-use-report@ the mail server"""
    SIGN_IN_TRIES: Annotated[str, Limit] = "10 per minute"
    """sign-ins per account and address"""
    LOG_FORMAT: Annotated[Literal["json", "text"], LowerCase] = "json"
    """text: for a terminal"""
    LOG_LEVEL: Annotated[Literal["debug", "info", "warning", "error"], LowerCase] = "info"
    """lowest level that is logged"""
    METRICS_TOKEN: str = ""
    """bearer token that may read /metrics, also without a database; empty: operators only"""
    QUEUE: str = "reports"
    """name of the RQ queue"""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the stronger source first."""
        return env_settings, NamedFileSource(settings_cls)


def load_settings() -> dict[str, Any]:
    """Return every setting by name, read from the environment and the files that it names.

    Raises: BadSetting, which names the setting and says what to write
    """
    try:
        return Settings().model_dump()
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=True)[0]
        raise BadSetting(str(finding["loc"][0]), _sentence(finding)) from None


def _sentence(finding: Any) -> str:
    """Return what is wrong with a value; only numbers, flags and words of a list are quoted."""
    kind, value, context = finding["type"], finding["input"], finding.get("ctx", {})
    sentences = {
        "value_error": "{error}",
        "int_parsing": "{value!r} is not a whole number",
        "float_parsing": "{value!r} is not a number",
        "bool_parsing": "{value!r} is neither true nor false",
        "greater_than_equal": "{value} is too small; at least {ge:g}",
        "less_than_equal": "{value} is too large; at most {le:g}",
        "literal_error": "{value!r} is none of {expected}",
    }
    return sentences[kind].format(value=value, **context)
