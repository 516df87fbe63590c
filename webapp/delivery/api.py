"""`/api/v1/definitions` and `/api/v1/deliveries`: thin views over this room."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request, url_for
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from webapp.accounts import audit, current_scope, restrict
from webapp.api.models import RESULT, ReportAnswer
from webapp.delivery import definitions
from webapp.delivery.bodies import (
    Changes,
    CompareQuery,
    ComparisonAnswer,
    DefinitionAnswer,
    DeliveriesQuery,
    DeliveryAnswer,
    LatestQuery,
    NewDefinition,
    PageQuery,
    RunAnswer,
)
from webapp.delivery.models import Definition, Delivery
from webapp.engine.export import FORMATS, result_response
from webapp.engine.service import audited, find_report
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.lib.bodies import answer_json, read_json, read_query
from webapp.lib.keyset import cut, one_page, place, read_place
from webapp.lib.openapi import JSON, TEXT, AnswerSpec, Describer

bp = Blueprint("definitions", __name__, url_prefix="/api/v1")
restrict(bp)
describe = Describer("Saved reports")
CALENDAR_EXAMPLE = (
    "BEGIN:VCALENDAR\r\n…\r\nBEGIN:VEVENT\r\nDTSTART:20261202T070000Z\r\n"
    "SUMMARY:Partner use, every month\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


@bp.get("/definitions")
@describe(query=PageQuery, answer=list[DefinitionAnswer], errors=(422,))
def index_definitions() -> Response:
    """List saved reports, newest first; Link: rel=next where there are more."""
    query = read_query(PageQuery)
    found = select(Definition).where(definitions.visible(current_scope()))
    return _page_of_answers(found, Definition, DefinitionAnswer, query)


def _page_of_answers(found: Any, model: Any, answer: type[BaseModel], query: PageQuery) -> Response:
    """Return a page of rows as answers, with the address of the next one."""
    after = read_place(query.cursor) if query.cursor else None
    keys = (model.created_at, model.id)
    rows = db.session.scalars(one_page(found, keys, after, query.limit, newest_first=True)).all()
    page, has_more = cut(rows, query.limit)
    response = answer_json([answer.model_validate(row) for row in page])
    if has_more:
        given = query.model_dump(exclude={"cursor"}, exclude_none=True)
        following = place(page[-1].created_at, page[-1].id)
        address = url_for(request.endpoint or "", **given, cursor=following)
        response.headers["Link"] = f'<{address}>; rel="next"'
    return response


@bp.post("/definitions")
@describe(
    body=NewDefinition,
    answer=AnswerSpec("What was saved.", {JSON: DefinitionAnswer}, headers=("Location",)),
    status=201,
    errors=(422,),
)
def create_definition() -> Response:
    """Save a report; the secret that signs its webhooks is shown this once."""
    definition = definitions.create_definition(current_scope(), read_json(NewDefinition))
    has_webhook = any(target["by"] == "webhook" for target in definition.deliver)
    secret = definitions.signing_secrets(definition)[-1] if has_webhook else None
    response = answer_json(_definition_answer(definition, secret), 201)
    response.headers["Location"] = url_for(
        "definitions.show_definition", definition_id=definition.id
    )
    return response


@bp.get("/definitions/<uuid:definition_id>")
@describe(answer=DefinitionAnswer, errors=(404,))
def show_definition(definition_id: UUID) -> Response:
    """Return one saved report."""
    return answer_json(_definition_answer(_found(definition_id)))


def _definition_answer(definition: Definition, secret: str | None = None) -> DefinitionAnswer:
    answer = DefinitionAnswer.model_validate(definition)
    return answer.model_copy(update={"webhook_secret": secret})


def _found(definition_id: UUID) -> Definition:
    return definitions.find_definition(current_scope(), str(definition_id))


@bp.patch("/definitions/<uuid:definition_id>")
@describe(body=Changes, answer=DefinitionAnswer, errors=(404, 422))
def change_definition(definition_id: UUID) -> Response:
    """Change what is sent of a saved report."""
    scope, definition = current_scope(), _found(definition_id)
    definitions.change_definition(scope, definition, read_json(Changes))
    audit(scope, "changed saved report", f"{definition.name} {definition.id}")
    db.session.commit()
    return answer_json(_definition_answer(definition))


@bp.delete("/definitions/<uuid:definition_id>")
@describe(answer=AnswerSpec("Deleted."), status=204, errors=(403, 404))
def delete_definition(definition_id: UUID) -> Response:
    """Delete a saved report with its runs and deliveries; its reports stay."""
    scope, definition = current_scope(), _found(definition_id)
    definitions.delete_definition(scope, definition)
    audit(scope, "deleted saved report", f"{definition.name} {definition.id}")
    db.session.commit()
    return Response(status=204)


@bp.post("/definitions/<uuid:definition_id>/run")
@describe(
    answer=AnswerSpec("The report, queued.", {JSON: ReportAnswer}, headers=("Location",)),
    status=202,
    errors=(403, 404, 422),
)
def run_definition(definition_id: UUID) -> Response:
    """Make the report of a definition now, as the caller."""
    scope, definition = current_scope(), _found(definition_id)
    report = definitions.run_now(scope, definition)
    audit(scope, "ran", audited(report))
    db.session.commit()
    response = answer_json(ReportAnswer.of(report), 202)
    response.headers["Location"] = url_for("api.show_report", report_id=report.id)
    response.headers["Retry-After"] = "1"
    return response


@bp.post("/definitions/<uuid:definition_id>/secret")
@describe(answer=DefinitionAnswer, errors=(403, 404))
def rotate_secret(definition_id: UUID) -> Response:
    """Give its webhooks a new secret, shown this once; the old one signs for a day more."""
    scope, definition = current_scope(), _found(definition_id)
    return answer_json(_definition_answer(definition, definitions.rotate_secret(scope, definition)))


@bp.get("/definitions/<uuid:definition_id>/latest")
@describe(
    query=LatestQuery,
    answer=AnswerSpec("The result.", RESULT),
    also={304: AnswerSpec("Not changed since the given ETag.")},
    errors=(404, 422),
)
def latest_result(definition_id: UUID) -> Response:
    """Return the newest finished result, with an ETag; 404 before there is one."""
    return _latest(_found(definition_id), read_query(LatestQuery).format)


@bp.get("/definitions/<uuid:definition_id>/latest.<fmt>")
@describe(
    answer=AnswerSpec("The result.", RESULT),
    also={304: AnswerSpec("Not changed since the given ETag.")},
    errors=(404,),
)
def latest_file(definition_id: UUID, fmt: str) -> Response:
    """Return the newest finished result, the format in the address."""
    if fmt not in FORMATS:
        raise NotFound(f"There is no such format; ask for one of {', '.join(FORMATS)}.")
    return _latest(_found(definition_id), fmt)


def _latest(definition: Definition, fmt: str) -> Response:
    report = definitions.newest_result(definition)
    if report is None:
        raise NotFound("There is no result yet; run it, or wait for its schedule.")
    return result_response(find_report(current_scope(), report.id), fmt, attach=fmt != "json")


@bp.get("/definitions/<uuid:definition_id>/runs")
@describe(answer=list[RunAnswer], errors=(404,))
def index_runs(definition_id: UUID) -> Response:
    """List what was made of a definition, newest first."""
    runs = definitions.runs_of(_found(definition_id))
    return answer_json([RunAnswer.model_validate(run) for run in runs])


@bp.get("/definitions/<uuid:definition_id>/compare")
@describe(query=CompareQuery, answer=ComparisonAnswer, errors=(404, 409, 422))
def compare_runs(definition_id: UUID) -> Response:
    """Return what came, went and changed between two results of a definition."""
    query, definition = read_query(CompareQuery), _found(definition_id)
    scope = current_scope()
    return answer_json(definitions.compare_results(scope, definition, query.before, query.after))


@bp.get("/definitions.ics")
@describe(
    answer=AnswerSpec(
        "iCalendar, the next twelve times of each.",
        {"text/calendar": TEXT | {"examples": [CALENDAR_EXAMPLE]}},
    )
)
def show_calendar() -> Response:
    """Return the next times of what the caller may see, for calendar programs."""
    calendar = definitions.calendar(current_scope())
    return Response(calendar, content_type="text/calendar; charset=utf-8")


@bp.get("/deliveries")
@describe(query=DeliveriesQuery, answer=list[DeliveryAnswer], errors=(404, 422))
def index_deliveries() -> Response:
    """List deliveries, newest first; Link: rel=next where there are more.

    Each is somebody who was told of something, with every try and its answer.
    """
    scope, query = current_scope(), read_query(DeliveriesQuery)
    found = select(Delivery).join(Delivery.definition).where(definitions.visible(scope))
    if query.definition:
        definition = definitions.find_definition(scope, str(query.definition))
        found = found.where(Delivery.definition_id == definition.id)
    # Each row shows its run's period.
    found = found.options(joinedload(Delivery.run))
    return _page_of_answers(found, Delivery, DeliveryAnswer, query)


@bp.post("/deliveries/<uuid:delivery_id>/resend")
@describe(answer=DeliveryAnswer, status=202, errors=(403, 404, 409))
def resend_delivery(delivery_id: UUID) -> Response:
    """Let a delivery be sent again at once."""
    delivery = definitions.resend(current_scope(), str(delivery_id))
    return answer_json(DeliveryAnswer.model_validate(delivery), 202)
