"""Every setting once: name, default, unit, bounds and one line of help.

They are read when the application is made, from the environment or from the file that `NAME_FILE`
names. One that cannot be used ends the process by name; the sentence never quotes what may hold a
secret. What depends on DATA_DIR is filled in by `webapp.data_dir`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from webapp.lib.settings import (
    CaFile,
    DatabaseUrl,
    DataCenter,
    Days,
    FilesUrl,
    Flag,
    Folders,
    Hosts,
    Limit,
    LowerCase,
    Months,
    OutsideUrl,
    PerSecond,
    Proxy,
    PublicUrl,
    RedisUrl,
    Roles,
    Seconds,
    Sender,
    SmtpUrl,
    Unit,
    UserAgent,
    Zone,
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
    """folder for everything that the embedded default writes"""
    DATABASE_URL: DatabaseUrl = ""
    """SQLAlchemy URL; empty: a SQLite file under DATA_DIR"""
    REDIS_URL: RedisUrl = ""
    """empty: the embedded Redis that `flask up` starts"""
    SECRET_KEY: str = ""
    """signs sessions and encrypts secrets; empty: created once under DATA_DIR"""
    SECRET_KEY_PREVIOUS: str = ""
    """the previous key, still read while keys are rotated"""
    HOST: str = "127.0.0.1"
    """address the web server listens on"""
    PORT: int = Field(default=5000, ge=0, le=65535)
    """port the web server listens on"""
    WEB_THREADS: int = Field(default=256, ge=4, le=4096)
    """threads of the web process; a stream holds one"""
    WEB_PROCESSES: int = Field(default=0, ge=0, le=64)
    """web processes of one server; 0: one per processor core, 4 at most, and 1 with SQLite"""
    BEHIND_PROXIES: int = Field(default=0, ge=0, le=5)
    """number of reverse proxies whose X-Forwarded-* headers are trusted"""
    ALLOWED_HOSTS: Hosts = ""
    """host names of this site, with commas; empty: loopback and the machine's own name"""
    COOKIE_SECURE: Flag = False
    """true where the site is served over https"""
    PARTNER_API_URL: OutsideUrl = ""
    """stand-in URL template; empty: the real hosts"""
    PARTNER_HOME_DATA_CENTER: DataCenter = "us1"
    """data centre asked for the list of sites"""
    PARTNER_PROXY: Proxy = ""
    """proxy to the partner, http://host:port; empty: none"""
    PARTNER_CA_FILE: CaFile = ""
    """certificates (PEM) trusted beside the system's"""
    PARTNER_USER_AGENT: UserAgent = ""
    """User-Agent of calls; empty: partner-use-report"""
    PARTNER_SEARCHES_PER_SECOND: PerSecond = Field(default=10, ge=0, le=10_000)
    """searches a second; 0: no limit"""
    PARTNER_CALLS_PER_SECOND: PerSecond = Field(default=100, ge=0, le=10_000)
    """other calls a second; 0: no limit"""
    PARTNER_CONCURRENCY: int = Field(default=8, ge=1, le=256)
    """requests in flight per report"""
    PARTNER_READ_LIMIT: int = Field(default=5000, ge=0, le=5000)
    """most creation dates read by one search; 0: none"""
    MONTHS_KEPT_DAYS: Days = Field(default=30, ge=0, le=36_500)
    """how long a closed month stays fresh"""
    REPORTS_KEPT_DAYS: Days = Field(default=365, ge=1, le=36_500)
    """how long a finished report is kept"""
    AUDIT_KEPT_DAYS: Days = Field(default=400, ge=1, le=36_500)
    """how long an entry of the audit log is kept"""
    SESSIONS_KEPT_MONTHS: Months = 0
    """months for which sessions and their hours are kept; 0: no limit"""
    STORAGE_EVENTS_KEPT_MONTHS: Months = 0
    """after these months file versions that were purged are only kept as sums; 0: never"""
    STREAMS_KEPT_MONTHS: Months = 0
    """after these months streams are only kept as sums by listener and label; 0: never"""
    INVENTORY_KEPT_MONTHS: Months = 0
    """months for which locked periods and their entries are kept; 0: no limit"""
    DELIVERIES_KEPT_DAYS: Days = Field(default=0, ge=0, le=36_500)
    """how long runs of saved reports and their deliveries are kept; 0: no limit"""
    INVENTORY_FILES_KEPT_DAYS: Days = Field(default=30, ge=0.01, le=36_500)
    """how long the files of an inventory report are kept"""
    UPLOADS_KEPT_DAYS: Days = Field(default=7, ge=0.01, le=36_500)
    """how long an upload that nobody loaded is kept"""
    FILES_URL: FilesUrl = ""
    """object store of report files and uploads; empty: they are in the database"""
    SESSION_TIMEZONE: Zone = "UTC"
    """where days and months of session activity begin"""
    SESSION_GRACE_SECONDS: Seconds = Field(default=10, ge=0, le=3600)
    """longest gap between two pings that still counts as activity"""
    FETCH_PRIVATE_ADDRESSES: Flag = False
    """true: pages may fetch files from private hosts"""
    MAIL_ATTACH_MB: Annotated[int, Unit("MB")] = Field(default=10, ge=0, le=100)
    """size of all files of a mail; above it, a link"""
    DELIVERY_FOLDERS: Folders = ""
    """allowed beginnings of folder URLs for deliveries, separated by spaces; empty: any"""
    PUBLIC_URL: PublicUrl = ""
    """address that links in mails begin with; empty: http://HOST:PORT"""
    STREAMING: Flag = True
    """false: loaders poll instead of listening"""
    LEASE_SECONDS: Seconds = Field(default=20, ge=1, le=600)
    """how long a report stays with a worker that does not answer"""
    MAX_ATTEMPTS: int = Field(default=3, ge=1, le=20)
    """attempts at a report whose worker is lost each time"""
    COMPANY_RUNNING_MOST: int = Field(default=8, ge=1, le=1000)
    """reports of a company that run at the same time"""
    COMPANY_WAITING_MOST: int = Field(default=500, ge=1, le=100_000)
    """reports of a company that may wait; beyond it, a request for one is answered 429"""
    STREAMS_PER_USER_MOST: int = Field(default=2000, ge=1, le=100_000)
    """live streams a user may have open in a web process; beyond it, one more is answered 429"""
    KEYS_PER_USER_MOST: int = Field(default=100, ge=1, le=100_000)
    """API keys of a user that work; beyond it, making one is answered 409"""
    COMPANY_UPLOADS_MOST: int = Field(default=200, ge=1, le=100_000)
    """uploads of a company that are kept; beyond it, another is answered 409"""
    COMPANY_UPLOADS_MB: Annotated[int, Unit("MB")] = Field(default=20_000, ge=1, le=100_000_000)
    """size of all uploads of a company that are kept; beyond it, another is answered 409"""
    RESULT_ROWS_MOST: int = Field(default=5_000_000, ge=100, le=100_000_000)
    """rows a result may have; beyond it the report fails"""
    REPORT_TIMEOUT_SECONDS: Annotated[int, Unit("seconds")] = Field(
        default=21600, ge=10, le=604_800
    )
    """longest run of a report"""
    HEARTBEAT_SECONDS: Seconds = Field(default=10, ge=0.2, le=15)
    """time between comments in a quiet event stream"""
    SMTP_URL: SmtpUrl = ""
    """mail server: smtp://user:password@host:587?tls=starttls, smtps://…; empty: no mail"""
    MAIL_FROM: Sender = ""
    """sender of mails; empty: partner-use-report@ the mail server"""
    OIDC_ISSUER: OutsideUrl = ""
    """OpenID provider that people may sign in with, https://…; empty: none"""
    OIDC_CLIENT_ID: str = ""
    """client ID of this site at the provider"""
    OIDC_CLIENT_SECRET: str = ""
    """client secret of this site at the provider; empty: PKCE alone"""
    OIDC_COMPANY: str = ""
    """company whose people sign in with the provider; created if it does not exist"""
    OIDC_ROLE_CLAIM: str = ""
    """claim with a person's role or groups; empty: new people are viewers, admins change roles"""
    OIDC_ROLES: Roles = ""
    """roles by value of the claim: staff=viewer, analysts=expert; empty: the roles' own names"""
    SIGN_IN_TRIES: Limit = "10 per minute"
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
        "literal_error": "{value!r} is not one of {expected}",
    }
    return sentences[kind].format(value=value, **context)
