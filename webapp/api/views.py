"""`/api/v1/reports`, `/api/v1/months` and `/api/v1/kinds`: thin views over the engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from uuid import UUID

from flask import Blueprint, Response, request, url_for

from webapp import jobs
from webapp.accounts import access_ended, audit, current_scope, require, restrict
from webapp.api.models import (
    RESULT,
    EstimateAnswer,
    EventHeaders,
    EventQuery,
    Expired,
    ExplainQuery,
    ExplanationAnswer,
    Kind,
    NewReport,
    NewReportHeaders,
    ReportAnswer,
    ReportsQuery,
    ResultQuery,
    Retry,
    StoredMonthsQuery,
)
from webapp.engine import months, registry, service
from webapp.engine.export import FORMATS, result_response
from webapp.engine.listing import list_reports
from webapp.engine.params import json_schema
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult
from webapp.errors import InvalidParams, TooMany, Unavailable
from webapp.extensions import db
from webapp.lib.bodies import answer_json, read_json, read_query
from webapp.lib.openapi import JSON, TEXT, AnswerSpec, Describer, Ref

bp = Blueprint("api", __name__, url_prefix="/api/v1")
restrict(bp)
describe = Describer("Reports")

EVENTS_EXAMPLE = """event: status
id: 1
data: {"seq": 1, "at": "2026-11-22T02:40:18.900Z", "level": "info", \
"text": "Listing the sites of partner 70000001.", "done": 0, "total": 0}

event: end
id: 01
data: {"status": "done"}

"""
EVENTS = {"text/event-stream": TEXT | {"examples": [EVENTS_EXAMPLE]}}
UNCHANGED = {304: AnswerSpec("Not changed since the given ETag.")}


@bp.post("/reports")
@describe(
    headers=NewReportHeaders,
    body=Ref("NewReport"),
    answer=AnswerSpec("The report, queued.", {JSON: ReportAnswer}, headers=("Location",)),
    status=202,
    also={200: AnswerSpec("The event stream of the new report.", EVENTS)},
    errors=(422,),
)
def create_report() -> Response:
    """Make a report.

    With Accept: text/event-stream the answer is the report's event stream.
    """
    scope = current_scope()
    body = read_json(NewReport)
    key = request.headers.get("Idempotency-Key")
    if key is not None and not key.strip():
        raise InvalidParams({"Idempotency-Key": "The key is empty; send a new random text."})
    started = service.start_report(scope, body.kind, body.params, idempotency_key=key)
    report = started.report
    if started.is_new:
        audit(scope, "ran", service.audited(report))
        db.session.commit()
    response = answer_json(ReportAnswer.of(report), 202)
    response.headers["Retry-After"] = "1"
    accepted = request.accept_mimetypes
    if accepted["text/event-stream"] > 0 and accepted.best == "text/event-stream":
        # Where no more streams fit, the report is made all the same.
        with suppress(TooMany, Unavailable):
            response = event_stream(report.id, 0)
    response.headers["Location"] = url_for("api.show_report", report_id=report.id)
    return response


@bp.get("/reports")
@describe(
    query=ReportsQuery,
    answer=AnswerSpec("Reports; Link: rel=next where there are more.", {JSON: list[ReportAnswer]}),
    also=UNCHANGED,
    errors=(422,),
)
def index_reports() -> Response:
    """List reports, newest first."""
    scope, query = current_scope(), read_query(ReportsQuery)
    page = list_reports(scope, **query.model_dump())
    response = answer_json([ReportAnswer.of(report) for report in page.reports])
    if page.next_cursor:
        following = query.model_dump(exclude_none=True) | {"cursor": page.next_cursor}
        response.headers["Link"] = f'<{url_for("api.index_reports", **following)}>; rel="next"'
    return _tagged(response)


def _tagged(response: Response) -> Response:
    """Return an answer with an ETag of what it holds; 304 for whoever has it already."""
    response.add_etag()
    response.make_conditional(request)
    return response


@bp.get("/reports/<uuid:report_id>")
@describe(answer=AnswerSpec("The report.", {JSON: ReportAnswer}), also=UNCHANGED, errors=(404,))
def show_report(report_id: UUID) -> Response:
    """One report."""
    report = service.find_report(current_scope(), str(report_id))
    return _tagged(answer_json(ReportAnswer.of(report)))


@bp.get("/reports/<uuid:report_id>/events")
@describe(
    headers=EventHeaders,
    query=EventQuery,
    answer=AnswerSpec("Server-Sent Events.", EVENTS),
    also={204: AnswerSpec("The report has ended, and the caller has heard the end.")},
    errors=(404,),
)
def report_events(report_id: UUID) -> Response:
    """Status lines, from the first to the end.

    `event: status` with `id: <seq>` and data `{seq, at, level, text, done, total}`; last `event:
    end` with data `{status}`. Comments keep a quiet stream open.
    """
    report = service.find_report(current_scope(), str(report_id))
    sent = (request.headers.get("Last-Event-ID", ""), request.args.get("after", ""))
    last = next((raw for raw in sent if re.fullmatch("[0-9]{1,10}", raw)), "0")
    # The end has its line's number behind a 0. Browsers come back until they are told not to.
    if len(last) > 1 and last.startswith("0") and not report.is_active:
        return Response(status=204)
    return event_stream(report.id, int(last))


def event_stream(report_id: str, after: int) -> Response:
    """Return the stream of a report's events; it holds no database connection while it waits."""
    left, ended = jobs.reader_gone(request.environ), access_ended()
    reader = current_scope().user_id
    events = jobs.Listening(report_id, after, gone=lambda: left() or ended(), reader=reader)
    db.session.remove()

    def body() -> Iterator[str]:
        for event in events:
            yield ": still here\n\n" if event is None else str(event)

    response = Response(body(), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "private, no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(events.close)
    return response


@bp.get("/reports/<uuid:report_id>/result")
@describe(
    query=ResultQuery,
    answer=AnswerSpec("The result.", RESULT),
    also=UNCHANGED,
    errors=(404, 409, 422),
)
def report_result(report_id: UUID) -> Response:
    """The result as JSON, CSV, XLSX or PDF.

    Which members the JSON has beside these depends on the kind: its tables are arrays of rows.
    """
    scope, query = current_scope(), read_query(ResultQuery)
    by_type = {media.partition(";")[0]: fmt for fmt, media in FORMATS.items()}
    best = request.accept_mimetypes.best_match(list(by_type), default="application/json")
    fmt = query.format or by_type[best]
    report = service.find_report(scope, str(report_id))
    raw, layout, value = query.raw == "1", query.layout or "", query.value or ""
    response = result_response(
        report, fmt, by=query.by, layout=layout, value=value, raw=raw, attach=fmt != "json"
    )
    if response.status_code == 200 and request.method == "GET":
        audit(scope, "downloaded", f"{service.audited(report)} {fmt}")
        db.session.commit()
        # The commit made the report stale, and the file is written after this request's session.
        db.session.refresh(report)
    response.vary.add("Accept")
    return response


@bp.get("/reports/<uuid:report_id>/explain")
@describe(
    query=ExplainQuery,
    answer=AnswerSpec("The value and its origin.", {JSON: ExplanationAnswer}),
    errors=(404, 409, 422),
)
def explain_value(report_id: UUID) -> Response:
    """Where a value of a result comes from."""
    query = read_query(ExplainQuery).model_dump(exclude_none=True)
    report = service.find_report(current_scope(), str(report_id))
    explained = kinds()[report.kind].explain(ReadResult(report), query)
    return answer_json(ExplanationAnswer(**asdict(explained)))


@bp.delete("/reports/<uuid:report_id>")
@describe(
    answer=AnswerSpec("Cancelled.", {JSON: ReportAnswer}),
    status=202,
    also={204: AnswerSpec("Deleted.")},
    errors=(403, 404, 409),
)
def delete_report(report_id: UUID) -> Response:
    """Cancel a queued or running report, delete a finished one."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    if report.is_active:
        report = service.cancel_report(scope, report.id)
        audit(scope, "cancelled", service.audited(report))
        db.session.commit()
        return answer_json(ReportAnswer.of(report), 202)
    audit(scope, "deleted", service.delete_report(scope, report.id))
    db.session.commit()
    return Response(status=204)


@bp.post("/reports/<uuid:report_id>/retry")
@describe(
    body=Retry,
    body_needed=False,
    answer=AnswerSpec("The report, queued again.", {JSON: ReportAnswer}, headers=("Location",)),
    status=202,
    errors=(404, 409, 422),
)
def retry_report(report_id: UUID) -> Response:
    """Try again only what failed.

    For incomplete and failed reports. Secrets are erased when a report ends: send them again as
    `{"params": {…}}`, unless the report uses a stored connection. The body the report was made with
    will do, and other credentials may take the place of the first.
    """
    scope = current_scope()
    body = read_json(Retry, optional=True)
    params = body.given()
    report = service.find_report(scope, str(report_id))
    if body.kind is not None and body.kind != report.kind:
        raise InvalidParams({"kind": f"This report is of the kind {report.kind}."})
    report = service.retry_report(scope, report.id, params)
    audit(scope, "retried", service.audited(report))
    db.session.commit()
    response = answer_json(ReportAnswer.of(report), 202)
    response.headers["Location"] = url_for("api.show_report", report_id=report.id)
    return response


@bp.post("/reports/estimate")
@describe(
    body=Ref("NewReport"),
    answer=AnswerSpec("The estimate.", {JSON: EstimateAnswer}),
    errors=(422, 502),
)
def estimate_report() -> Response:
    """About how many calls a report needs, and how long."""
    body = read_json(NewReport)
    found = service.estimate_report(current_scope(), body.kind, body.params)
    return answer_json(
        EstimateAnswer(calls=found.calls, saved=found.saved, seconds=round(found.seconds, 1))
    )


@bp.get("/kinds")
@describe(answer=AnswerSpec("Kinds, with parameters as JSON Schema.", {JSON: list[Kind]}))
def index_kinds() -> Response:
    """The kinds of report and their parameters."""
    current_scope()
    return answer_json(
        [
            Kind(
                kind=kind.slug,
                title=kind.title,
                description=kind.description,
                params=json_schema(kind),
            )
            for kind in kinds().values()
        ]
    )


@bp.delete("/months")
@require("expert")
@describe(
    query=StoredMonthsQuery,
    answer=AnswerSpec("How many expired.", {JSON: Expired}),
    errors=(403, 422),
)
def expire_months() -> Response:
    """Force stored months to expire."""
    scope, query = current_scope(), read_query(StoredMonthsQuery)
    if query.kind is not None:
        registry.kind_named(query.kind)
    expired = months.expire(company_id=scope.company_id, **query.model_dump())
    audit(scope, "expired months", f"{expired}")
    db.session.commit()
    return answer_json(Expired(expired=expired))
