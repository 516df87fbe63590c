"""What the API takes and answers, as models that the views use and OpenAPI shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import url_for
from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from webapp.engine.export import FORMATS
from webapp.engine.models import STATUSES, Report
from webapp.engine.registry import kinds
from webapp.errors import InvalidParams
from webapp.lib.bodies import Id, Moment, MonthSpan, OneOf, WholeNumber
from webapp.lib.model import LazyModel
from webapp.lib.openapi import TEXT


class OfThisApp:
    """Marks the slug of a kind; which there are is known once the application is made."""

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": list(kinds())}


def _checked_object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("Send the parameters as a JSON object.")
    return value


KindSlug = Annotated[str, OfThisApp()]
Params = Annotated[dict[str, Any], BeforeValidator(_checked_object)]
Status = Annotated[str, OneOf(STATUSES)]


class NewReport(LazyModel):
    """The body that makes a report; which parameters its kind has, the kind says."""

    model_config = ConfigDict(extra="forbid")

    kind: Any
    params: Params = {}


class Retry(LazyModel):
    """The body of a retry: a report's body, or its parameters bare."""

    model_config = ConfigDict(extra="allow")

    kind: Any = None
    params: Params | None = None

    def given(self) -> dict[str, Any]:
        """Return the parameters; raises InvalidParams where some stand inside and some beside."""
        beside = self.model_extra or {}
        if self.params is None:
            return beside
        if beside:
            raise InvalidParams(dict.fromkeys(sorted(beside), "Send this inside of params."))
        return self.params


class NewReportHeaders(LazyModel):
    """Headers of a request for a report."""

    idempotency_key: str | None = Field(
        None,
        alias="Idempotency-Key",
        description="Any text of yours; the same key and body give the same report.",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
    )


class EventHeaders(LazyModel):
    """Headers of a request for events."""

    last_event_id: str | None = Field(
        None, alias="Last-Event-ID", description="Only what comes after the line with this number."
    )


class EventQuery(LazyModel):
    """The query of a request for events."""

    after: str | None = Field(
        None, description="As Last-Event-ID, for clients that cannot send a header."
    )


class ReportsQuery(LazyModel):
    """Which reports a list shows."""

    kind: KindSlug | None = Field(None, description="Only this kind.")
    status: Status | None = Field(None, description="Only this status.")
    limit: Annotated[int, WholeNumber(1, 100)] = Field(20, description="How many.")
    cursor: str | None = Field(None, description="From the Link header.")


class ResultQuery(LazyModel):
    """How a result is written."""

    format: Annotated[str, OneOf(tuple(FORMATS))] | None = Field(
        None, description="Takes precedence over Accept."
    )
    by: str | None = Field(
        None, description="The table of the CSV, e.g. site; a wrong one is answered with the names."
    )
    layout: str | None = Field(None, description="Another layout of the CSV, e.g. wide.")
    value: str | None = Field(None, description="What a layout shows, e.g. delta.")
    raw: str | None = Field(
        None, description="1: no text of the CSV is changed.", json_schema_extra={"enum": ["1"]}
    )


class ExplainQuery(LazyModel):
    """Which value is explained."""

    row: str | None = Field(None, description="The row of the main table, counted from 1.")
    column: str | None = Field(None, description="The column of the value.")
    site: str | None = Field(None, description="partner-use: a site, by its ID or API key.")
    month: str | None = Field(None, description="partner-use: the month, YYYY-MM.")


class StoredMonthsQuery(MonthSpan):
    """Which stored months expire."""

    model_config = ConfigDict(extra="forbid")

    kind: KindSlug | None = Field(None, description="Only this kind.")
    subject: str | None = Field(None, description="A partner ID or the ID of one of its sites.")


class ExplanationAnswer(LazyModel):
    """Where one value of a result comes from."""

    value: Any = None
    source: Literal["live", "stored", "implied", "computed"]
    counted_at: str | None = None
    query: str | None = None
    implied_by: list[dict[str, Any]] | None = None
    left_out: list[dict[str, Any]] | None = None


class Progress(LazyModel):
    """How many steps of a report are done, of how many."""

    done: int
    total: int


class Links(LazyModel):
    """Where the rest of a report is."""

    self: str
    events: str
    result: str


class ReportAnswer(LazyModel):
    """A report as every address of the API shows it; its parameters never hold a secret."""

    id: Id
    kind: KindSlug
    status: Status
    params: dict[str, Any]
    progress: Progress
    company: Id
    requested_by: Id
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    error: str | None
    links: Links

    @classmethod
    def of(cls, report: Report) -> ReportAnswer:
        """Return the answer about a stored report."""
        links = Links(
            self=url_for("api.show_report", report_id=report.id),
            events=url_for("api.report_events", report_id=report.id),
            result=url_for("api.report_result", report_id=report.id),
        )
        own = cls.model_fields.keys() - {"progress", "company", "links"}
        return cls.model_construct(
            **{name: getattr(report, name) for name in own},
            progress=Progress(done=report.done, total=report.total),
            company=report.company_id,
            links=links,
        )


class ResultAnswer(LazyModel):
    """A result: these members, and those and the tables of its kind, each on its page."""

    model_config = ConfigDict(extra="allow")

    kind: KindSlug
    generated_at: str
    complete: bool = Field(description="False: there are holes, which are null.")


CSV_EXAMPLE = "month,total_users,delta\r\n2024-01,13883,248\r\n2024-02,14147,264\r\n"
# What a result is answered as.
RESULT: dict[str, Any] = {
    FORMATS["json"]: ResultAnswer,
    "text/csv": TEXT | {"examples": [CSV_EXAMPLE]},
    FORMATS["xlsx"]: TEXT | {"format": "binary"},
    FORMATS["pdf"]: TEXT | {"format": "binary"},
}


class EstimateAnswer(LazyModel):
    """What a report would cost: calls to come, calls that stored months save, seconds."""

    calls: int = Field(ge=0)
    saved: int = Field(ge=0)
    seconds: float = Field(ge=0)


class Kind(LazyModel):
    """A kind of report; `params` is the JSON Schema of its parameters."""

    kind: str
    title: str
    description: str
    params: dict[str, Any]


class Expired(LazyModel):
    """How many stored months expired."""

    expired: int = Field(ge=0)
