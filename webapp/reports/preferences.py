"""How somebody likes pages: the zone of times, the language of numbers, light or dark.

Kept in a cookie of the browser, so a page needs no further query and no one else sees it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from flask import Flask, current_app, has_request_context, request
from werkzeug.wrappers import Response

from webapp.htmx import redirect_to
from webapp.lib.texts import local_path
from webapp.reports.blueprint import bp

COOKIE = "preferences"
KEPT_S = 400 * 24 * 3600
THEMES = {"": "as the device", "light": "light", "dark": "dark"}
# Between thousands, before the fraction.
NUMBERS = {
    "en": ("1,234.56", ",", "."),
    "de": ("1.234,56", ".", ","),
    "fr": ("1 234,56", "\N{NARROW NO-BREAK SPACE}", ","),
    "de-CH": ("1’234.56", "’", "."),
}
ZONES = (
    *("UTC", "Europe/London", "Europe/Berlin", "Europe/Athens", "Africa/Johannesburg"),
    *("Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Shanghai", "Asia/Tokyo"),
    *("Australia/Sydney", "Pacific/Auckland", "America/Sao_Paulo", "America/New_York"),
    *("America/Chicago", "America/Denver", "America/Los_Angeles"),
)


@dataclass(frozen=True)
class Preferences:
    """What one reader likes; each a key of the tables above."""

    theme: str = ""
    numbers: str = "en"
    zone: str = "UTC"

    @classmethod
    def of(cls, given: Any) -> Preferences:
        """Return the preferences in a mapping of texts; what is unknown there counts as none."""
        known: dict[str, Collection[str]] = {"theme": THEMES, "numbers": NUMBERS, "zone": ZONES}
        return cls(**{name: given[name] for name, of in known.items() if given.get(name) in of})

    def in_zone(self, moment: datetime) -> datetime:
        """Return a moment as this reader's clocks show it; without a zone it is UTC."""
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(ZoneInfo(self.zone))

    def spelled(self, number: str) -> str:
        """Return a number as this reader writes it, from English digits."""
        _, thousands, point = NUMBERS[self.numbers]
        return number.translate({ord(","): thousands, ord("."): point})


# Beside a request: the stream of lines is rendered when its request is over.
_beside: ContextVar[Preferences | None] = ContextVar("preferences", default=None)


def preferences() -> Preferences:
    """Return what the reader of this answer likes."""
    if beside := _beside.get():
        return beside
    if not has_request_context():
        return Preferences()
    return Preferences.of(dict(parse_qsl(request.cookies.get(COOKIE, "")[:200])))


@contextmanager
def liked(by: Preferences) -> Iterator[None]:
    """Write for somebody although their request is over."""
    token = _beside.set(by)
    try:
        yield
    finally:
        _beside.reset(token)


@bp.post("/preferences")
def save_preferences() -> Response:
    """Keep what was chosen, and go back to where that was."""
    response = redirect_to(local_path(request.form.get("back")))
    response.set_cookie(
        COOKIE,
        urlencode(asdict(Preferences.of(request.form))),
        max_age=KEPT_S,
        httponly=True,
        samesite="Lax",
        secure=current_app.config["COOKIE_SECURE"],
    )
    return response


def init_app(app: Flask) -> None:
    """Give templates what they offer to choose."""
    app.jinja_env.globals.update(
        preferences=preferences,
        zone_name=lambda: preferences().zone.rpartition("/")[2].replace("_", " "),
        preference_choices={
            "theme": ("Colours", tuple(THEMES.items())),
            "numbers": ("Numbers", tuple((key, one[0]) for key, one in NUMBERS.items())),
            "zone": ("Times in", tuple((zone, zone.replace("_", " ")) for zone in ZONES)),
        },
    )
