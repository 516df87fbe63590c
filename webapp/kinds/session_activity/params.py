"""What a session-activity report is asked with; the names are those of the session manager."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from flask import current_app
from pydantic import ConfigDict, Field, JsonValue, model_validator

from webapp.kinds.session_activity.compute import day_of
from webapp.kinds.session_activity.ingest import zone_of
from webapp.kinds.session_activity.models import EVENT_LENGTH, LOGIN_LENGTH
from webapp.lib.bodies import Month, at_field, check_months
from webapp.lib.model import LazyModel
from webapp.lib.moments import utcnow
from webapp.lib.months import last_day

MOST_DAYS = 3660


def _form(**hints: JsonValue) -> dict[str, JsonValue]:
    return {"form": hints}


def check_dates(first: date, last: date) -> None:
    """Raise what is wrong with a range of dates, both included, beside its field."""
    if last < first:
        raise at_field("to_date", "The last date is before the first date.")
    if not 1970 <= first.year <= last.year <= 9000:
        raise at_field("from_date", "The year of the date cannot be right.")


class SessionActivityParams(LazyModel):
    """Parameters of a session-activity report; nothing of them is secret."""

    model_config = ConfigDict(extra="forbid")

    login: Annotated[str, Field(max_length=LOGIN_LENGTH)] | None = Field(
        None, title="Login", description="Leave empty for all logins."
    )
    session_type: Annotated[str, Field(max_length=EVENT_LENGTH)] | None = Field(
        None,
        title="Event",
        description="For example platform zero; leave empty for the whole session time.",
    )
    by: Literal["login", "computer", "room", "event"] = Field(
        "login", title="Hours by", json_schema_extra=_form(widget="radio")
    )
    group_by: Literal["month", "week", "date"] = Field(
        "month", title="One row per", json_schema_extra=_form(widget="radio")
    )
    range: Literal["months", "dates"] = Field(
        "months",
        title="Range",
        json_schema_extra=_form(
            widget="radio",
            choices=[["months", "Whole months"], ["dates", "From one date to another"]],
        ),
    )
    start: Month | None = Field(
        None,
        title="First month",
        description="Included; empty: the current month.",
        json_schema_extra=_form(when=["range", "months"], months_ago=0),
    )
    end: Month | None = Field(
        None,
        title="Last month",
        description="Included; empty: the current month.",
        json_schema_extra=_form(when=["range", "months"], months_ago=0),
    )
    from_date: date | None = Field(
        None,
        title="First date",
        description="Included.",
        json_schema_extra=_form(when=["range", "dates"]),
    )
    to_date: date | None = Field(
        None,
        title="Last date",
        description="Included.",
        json_schema_extra=_form(when=["range", "dates"]),
    )
    refresh: bool = Field(
        False, title="Count again", description="Ignore stored months and replace them."
    )

    @model_validator(mode="before")
    @classmethod
    def _infer_range(cls, given: Any) -> Any:
        """Let a program leave out `range`: dates alone mean a range of dates."""
        if isinstance(given, dict) and "range" not in given:
            dates = "from_date" in given or "to_date" in given
            if dates and "start" not in given and "end" not in given:
                return {**given, "range": "dates"}
        return given

    @model_validator(mode="after")
    def _settle(self) -> SessionActivityParams:
        self.login = (self.login or "").strip() or None
        self.session_type = (self.session_type or "").strip() or None
        # What belongs to the other range is refused, rather than dropped: somebody meant it.
        others, sentence = (
            (("from_date", "to_date"), "The range is whole months: leave dates out.")
            if self.range == "months"
            else (("start", "end"), "The range is dates: leave months out.")
        )
        for name in others:
            if getattr(self, name) is not None:
                raise at_field(name, sentence)
        if self.range == "months":
            self._settle_months()
        else:
            self._settle_dates()
        if (self.last_day - self.first_day).days >= MOST_DAYS:
            field = "end" if self.range == "months" else "to_date"
            raise at_field(field, "A report covers ten years at most.")
        return self

    def _settle_months(self) -> None:
        this_month = day_of(utcnow(), zone_of(current_app)).replace(day=1)
        self.end = self.end or max(this_month, self.start or this_month)
        self.start = self.start or self.end
        check_months(self.start, self.end)

    def _settle_dates(self) -> None:
        for name, which in (("from_date", "first"), ("to_date", "last")):
            if getattr(self, name) is None:
                raise at_field(name, f"A range of dates needs its {which} date, as YYYY-MM-DD.")
        check_dates(self.first_day, self.last_day)

    @property
    def first_day(self) -> date:
        """Return the first day of the range."""
        day = self.start or self.from_date
        assert day is not None
        return day

    @property
    def last_day(self) -> date:
        """Return the last day of the range, included."""
        if self.end is not None:
            return last_day(self.end)
        assert self.to_date is not None
        return self.to_date

    @property
    def event(self) -> str:
        """Return the event as segments name it: '' for the session time."""
        return self.session_type or ""
