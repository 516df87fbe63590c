"""What saved reports are sent and answered as: models that the views use and OpenAPI shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from flask import current_app
from pydantic import AfterValidator, AliasPath, ConfigDict, Field, model_validator

from webapp.delivery.schedules import Schedule, check_time
from webapp.engine.export import FORMATS
from webapp.errors import InvalidParams
from webapp.lib.bodies import Id, Moment, OneOf, Text, WholeNumber
from webapp.lib.model import LazyModel
from webapp.lib.public_addresses import check_address
from webapp.lib.settings import FOLDER_SCHEMES
from webapp.lib.texts import as_email

FileFormat = Literal["csv", "json", "xlsx", "pdf"]


def _checked_email(text: str) -> str:
    email = as_email(text)
    if email is None:
        raise ValueError("This is not an e-mail address.")
    return email


def _folder_url(url: str) -> str:
    if not url.startswith(FOLDER_SCHEMES) or "@" in url or "?" in url:
        raise ValueError(
            "Write s3://bucket/prefix, gs://…, az://container/… or file:///folder; credentials "
            "come from the store's own environment."
        )
    allowed = current_app.config["DELIVERY_FOLDERS"].split()
    if ".." in url.split("/") or (allowed and not url.startswith(tuple(allowed))):
        raise ValueError(
            f"This installation allows reports under {' or '.join(allowed)} only."
            if allowed
            else "Write the folder without '..'."
        )
    return url.rstrip("/")


def _checked_webhook_url(url: str) -> str:
    try:
        check_address(url, private_allowed=bool(current_app.config["FETCH_PRIVATE_ADDRESSES"]))
    except InvalidParams as error:
        raise ValueError(next(iter(error.errors.values()))) from None
    return url


class _Target(LazyModel):
    model_config = ConfigDict(extra="forbid")


class EmailTarget(_Target):
    """People told by e-mail, with files attached."""

    by: Literal["email"]
    to: list[Annotated[str, AfterValidator(_checked_email)]] = Field(min_length=1, max_length=50)
    attach: list[FileFormat] = Field(default=[], max_length=4)


class WebhookTarget(_Target):
    """A program told by a signed request (Standard Webhooks)."""

    by: Literal["webhook"]
    url: Annotated[str, Field(max_length=2000), AfterValidator(_checked_webhook_url)]
    # Set where the receiver said that it is gone (410).
    off: bool = False


class FolderTarget(_Target):
    """A folder or a bucket that files are put into."""

    by: Literal["folder"]
    url: Annotated[str, Field(max_length=1000), AfterValidator(_folder_url)]
    attach: list[FileFormat] = Field(default=["csv"], min_length=1, max_length=4)


Target = Annotated[EmailTarget | WebhookTarget | FolderTarget, Field(discriminator="by")]
Name = Annotated[Text, Field(min_length=1, max_length=200)]


# What each rule of an alert needs beside the value that is watched.
NEEDED = {
    "above": ("limit",),
    "below": ("limit",),
    "share": ("limit", "percent"),
    "change": ("percent",),
    "unusual": (),
}


class Alert(LazyModel):
    """One thing to watch: a figure on top of the result, or a column of its main table.

    when: above, below  at least, or at most, the limit
          share         at least so many percent of the limit
          change        at least so many percent away from the result before, up or down
          unusual       outside of what its own past lets expect
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: Annotated[Text, Field(min_length=1, max_length=80)]
    figure: Annotated[Text, Field(max_length=200)] | None = None
    column: Annotated[Text, Field(max_length=80)] | None = None
    when: Literal["above", "below", "share", "change", "unusual"]
    limit: float | None = None
    percent: float | None = Field(None, gt=0, le=1_000_000)

    @model_validator(mode="after")
    def _check(self) -> Alert:
        if (self.figure is None) == (self.column is None):
            raise ValueError("Give either figure or column.")
        needed = NEEDED[self.when]
        for name in ("limit", "percent"):
            if (getattr(self, name) is None) == (name in needed):
                verb = "needs" if name in needed else "takes no"
                raise ValueError(f"An alert '{self.when}' {verb} {name}.")
        if self.when == "unusual" and self.column is not None:
            raise ValueError("The alert unusual needs a figure, not a column.")
        return self


class Quiet(LazyModel):
    """The hours in which nobody is told of alerts; they are told when it is over."""

    model_config = ConfigDict(extra="forbid")

    begin: Annotated[str, AfterValidator(check_time)]
    end: Annotated[str, AfterValidator(check_time)]


def _checked_names(alerts: list[Alert]) -> list[Alert]:
    names = [alert.name for alert in alerts]
    if len(set(names)) < len(names):
        raise ValueError("Give each alert a different name.")
    return alerts


Alerts = Annotated[list[Alert], Field(max_length=20), AfterValidator(_checked_names)]


class NewDefinition(LazyModel):
    """What makes a definition. `params` as of a report, months also relative; no secrets."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: Name
    kind: str
    params: dict[str, Any] = {}
    schedule: Schedule | None = None
    deliver: list[Target] = Field(default=[], max_length=20)
    alerts: Alerts = []
    quiet: Quiet | None = None
    hold_incomplete: bool = False
    paused: bool = False
    private: bool = False


class Changes(LazyModel):
    """What changes of a definition; what is not sent stays."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: Name | None = None
    params: dict[str, Any] | None = None
    schedule: Schedule | None = None
    deliver: list[Target] | None = Field(default=None, max_length=20)
    alerts: Alerts | None = None
    quiet: Quiet | None = None
    hold_incomplete: bool | None = None
    paused: bool | None = None
    private: bool | None = None


class DefinitionAnswer(LazyModel):
    """A saved report: what is asked for, when it is due next, what came of it last."""

    model_config = ConfigDict(from_attributes=True)

    id: Id
    name: str
    kind: str
    params: dict[str, Any]
    schedule: Schedule | None
    deliver: list[dict[str, Any]]
    alerts: list[Alert]
    alert_states: dict[str, Any] = Field(
        description="By name: active since (null: not active), and the last value."
    )
    quiet: Quiet | None
    hold_incomplete: bool
    paused: bool
    private: bool
    owner: Annotated[Id, Field(validation_alias="user_id")]
    created_at: Moment
    last_report: Id | None
    next_run_at: Moment | None
    webhook_secret: str | None = Field(None, description="Shown once, when it is made.")


class RunAnswer(LazyModel):
    """One making of a saved report."""

    model_config = ConfigDict(from_attributes=True)

    id: Id
    period: str | None
    due_at: Moment
    missed: int
    status: str
    report: Annotated[Id | None, Field(validation_alias="report_id")]
    report_status: str | None
    figures: list[dict[str, Any]] | None
    error: str | None


class DeliveryAnswer(LazyModel):
    """Somebody told of a run, with every try and its answer."""

    model_config = ConfigDict(from_attributes=True)

    id: Id
    definition: Annotated[Id, Field(validation_alias="definition_id")]
    run: Annotated[Id, Field(validation_alias="run_id")]
    period: Annotated[str | None, Field(validation_alias=AliasPath("run", "period"))]
    event: str
    about: dict[str, Any] | None
    by: Annotated[str, Field(validation_alias=AliasPath("target", "by"))]
    to: str
    status: str
    tries: list[dict[str, Any]]
    next_try_at: Moment | None
    sent_at: Moment | None
    created_at: Moment


class ComparisonAnswer(LazyModel):
    """How two results of one definition differ, row by row; `from` is `first` where it was."""

    before: str = Field(alias="from")
    after: Id = Field(alias="to")
    counted_at: dict[str, Any]
    came: list[dict[str, Any]]
    went: list[dict[str, Any]]
    changed: list[dict[str, Any]]


class PageQuery(LazyModel):
    """Which part of a list is wanted."""

    limit: Annotated[int, WholeNumber(1, 100)] = Field(20, description="How many.")
    cursor: Text | None = Field(None, description="The cursor of the page before.")


class DeliveriesQuery(PageQuery):
    """Which deliveries are wanted."""

    definition: UUID | None = Field(None, description="Only those of this saved report.")


class LatestQuery(LazyModel):
    """How the newest result is wanted."""

    format: Annotated[str, OneOf(tuple(FORMATS))] = Field("json", description="How it is written.")


class CompareQuery(LazyModel):
    """Which two results are compared: ids of reports; `from=first` for what was counted first."""

    before: str = Field(
        alias="from", description="The ID of the older report, or `first`: as first counted."
    )
    after: str = Field(alias="to", description="The ID of the newer report.")
