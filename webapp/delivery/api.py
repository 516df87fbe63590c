"""`/api/v1/definitions` and `/api/v1/deliveries`: thin views over this room."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, url_for
from sqlalchemy import select

from webapp.accounts import audit, current_scope, restrict
from webapp.api.models import ReportAnswer
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
from webapp.delivery.comparison import compare
from webapp.delivery.models import Definition, Delivery
from webapp.delivery.sending import resend
from webapp.engine.download import result_response
from webapp.engine.export import FORMATS
from webapp.engine.service import find_report
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.lib.bodies import (
    answer_json,
    read_json,
    read_query,
)
from webapp.lib.keyset import cut, one_page, place, read_place
from webapp.lib.openapi import JSON, TEXT, Answer, Describer

bp = Blueprint("definitions", __name__, url_prefix="/api/v1")
restrict(bp)
describe = Describer("Saved reports")


@bp.get("/definitions")
@describe(
    "List saved reports, newest first",
    query=PageQuery,
    answer=Answer(
        "Saved reports; Link: rel=next where there are more.", {JSON: list[DefinitionAnswer]}
    ),
    errors=(422,),
)
def index_definitions() -> Response:
    """List what is saved in the caller's company, newest first."""
    scope, query = current_scope(), read_query(PageQuery)
    found = select(Definition).where(definitions.visible(scope))
    page, following = _page(found, Definition, query)
    response = answer_json([_answer(definition) for definition in page])
    return _linked(response, "definitions.index_definitions", following, query)


def _page(found: Any, model: Any, query: PageQuery) -> tuple[list[Any], str | None]:
    after = read_place(query.cursor) if query.cursor else None
    keys = (model.created_at, model.id)
    rows = db.session.scalars(one_page(found, keys, after, query.limit, newest_first=True)).all()
    page, more = cut(rows, query.limit)
    return page, place(page[-1].created_at, page[-1].id) if more else None


def _linked(
    response: Response, endpoint: str, following: str | None, query: PageQuery, **more: Any
) -> Response:
    if following:
        address = url_for(endpoint, limit=query.limit, cursor=following, **more)
        response.headers["Link"] = f'<{address}>; rel="next"'
    return response


@bp.post("/definitions")
@describe(
    "Save a report",
    body=NewDefinition,
    answer=Answer("What was saved.", {JSON: DefinitionAnswer}, headers=("Location",)),
    status=201,
    errors=(422,),
)
def create_definition() -> Response:
    """Save a report; the secret that signs its webhooks is shown this once."""
    scope = current_scope()
    definition = definitions.create_definition(scope, read_json(NewDefinition))
    audit(scope, "saved report", f"{definition.name} {definition.id}")
    db.session.commit()
    has_webhook = any(target["by"] == "webhook" for target in definition.deliver)
    secret = definitions.signing_secrets(definition)[-1] if has_webhook else None
    response = answer_json(_answer(definition, secret), 201)
    response.headers["Location"] = url_for(
        "definitions.show_definition", definition_id=definition.id
    )
    return response


@bp.get("/definitions/<uuid:definition_id>")
@describe("One saved report", answer=DefinitionAnswer, errors=(404,))
def show_definition(definition_id: UUID) -> Response:
    """Return one saved report."""
    return answer_json(_answer(_found(definition_id)))


def _answer(definition: Definition, secret: str | None = None) -> DefinitionAnswer:
    runs = definitions.runs_of(definition, limit=1)
    return DefinitionAnswer.of(definition, runs[0][0].report_id if runs else None, secret)


def _found(definition_id: UUID) -> Definition:
    return definitions.find_definition(current_scope(), str(definition_id))


@bp.patch("/definitions/<uuid:definition_id>")
@describe("Change a saved report", body=Changes, answer=DefinitionAnswer, errors=(404, 422))
def change_definition(definition_id: UUID) -> Response:
    """Change what is sent of a saved report."""
    scope, definition = current_scope(), _found(definition_id)
    definitions.change_definition(scope, definition, read_json(Changes))
    audit(scope, "changed saved report", f"{definition.name} {definition.id}")
    db.session.commit()
    return answer_json(_answer(definition))


@bp.delete("/definitions/<uuid:definition_id>")
@describe("Delete a saved report", answer=Answer("Deleted."), status=204, errors=(403, 404))
def delete_definition(definition_id: UUID) -> Response:
    """Delete a saved report with its runs and deliveries; its reports stay."""
    scope, definition = current_scope(), _found(definition_id)
    definitions.delete_definition(scope, definition)
    audit(scope, "deleted saved report", f"{definition.name} {definition.id}")
    db.session.commit()
    return Response(status=204)


@bp.post("/definitions/<uuid:definition_id>/run")
@describe(
    "Make a saved report now",
    answer=Answer("The report, queued.", {JSON: ReportAnswer}, headers=("Location",)),
    status=202,
    errors=(403, 404, 422),
)
def run_definition(definition_id: UUID) -> Response:
    """Make the report of a definition now, as the caller."""
    scope, definition = current_scope(), _found(definition_id)
    report = definitions.run_now(scope, definition)
    audit(scope, "ran", f"{report.kind} {report.id}")
    db.session.commit()
    response = answer_json(ReportAnswer.of(report), 202)
    response.headers["Location"] = url_for("api.show_report", report_id=report.id)
    response.headers["Retry-After"] = "1"
    return response


@bp.post("/definitions/<uuid:definition_id>/secret")
@describe(
    "A new secret for its webhooks; the old one signs for a day more",
    answer=DefinitionAnswer,
    errors=(403, 404),
)
def rotate_secret(definition_id: UUID) -> Response:
    """Give a definition's webhooks a new secret, shown this once."""
    scope, definition = current_scope(), _found(definition_id)
    secret = definitions.rotate_secret(scope, definition)
    audit(scope, "rotated webhook secret", f"{definition.name} {definition.id}")
    db.session.commit()
    return answer_json(_answer(definition, secret))


@bp.get("/definitions/<uuid:definition_id>/latest")
@describe(
    "The newest result",
    query=LatestQuery,
    answer=Answer("The result.", dict.fromkeys(FORMATS.values(), TEXT)),
    also={304: Answer("Not changed since the given ETag.")},
    errors=(404, 422),
)
def latest_result(definition_id: UUID) -> Response:
    """Return the newest finished result, with an ETag; 404 before there is one."""
    definition, query = _found(definition_id), read_query(LatestQuery)
    return _latest(definition, query.format)


@bp.get("/definitions/<uuid:definition_id>/latest.<fmt>")
@describe(
    "The newest result, the format in the address",
    answer=Answer("The result.", dict.fromkeys(FORMATS.values(), TEXT)),
    also={304: Answer("Not changed since the given ETag.")},
    errors=(404,),
)
def latest_file(definition_id: UUID, fmt: str) -> Response:
    """Return the newest finished result, for programs that know an address and no more."""
    if fmt not in FORMATS:
        raise NotFound(f"There is no such format; ask for one of {', '.join(FORMATS)}.")
    return _latest(_found(definition_id), fmt)


def _latest(definition: Definition, fmt: str) -> Response:
    report = definitions.newest_result(definition)
    if report is None:
        raise NotFound("There is no result yet; run it, or wait for its schedule.")
    return result_response(find_report(current_scope(), report.id), fmt, attach=fmt != "json")


@bp.get("/definitions/<uuid:definition_id>/runs")
@describe("Its runs, newest first", answer=list[RunAnswer], errors=(404,))
def index_runs(definition_id: UUID) -> Response:
    """List what was made of a definition, newest first."""
    return answer_json(
        [RunAnswer.of(run, report) for run, report in definitions.runs_of(_found(definition_id))]
    )


@bp.get("/definitions/<uuid:definition_id>/compare")
@describe(
    "Two of its results side by side",
    query=CompareQuery,
    answer=ComparisonAnswer,
    errors=(404, 409, 422),
)
def compare_runs(definition_id: UUID) -> Response:
    """Return what came, went and changed between two results of a definition."""
    scope, definition, query = current_scope(), _found(definition_id), read_query(CompareQuery)
    of_it = {run.report_id for run, _ in definitions.runs_of(definition, limit=1000)}
    unknown = [name for name, value in _ends(query).items() if value not in of_it]
    if unknown:
        raise InvalidParams(dict.fromkeys(unknown, "This is no report of this definition."))
    before, after = find_report(scope, query.before), find_report(scope, query.after)
    found = compare(before, after)
    return answer_json(
        ComparisonAnswer.model_construct(
            before=before.id,
            after=after.id,
            counted_at={
                report.id: (report.head or {}).get("generated_at") for report in (before, after)
            },
            came=found.came,
            went=found.went,
            changed=found.changed,
        )
    )


def _ends(query: CompareQuery) -> dict[str, str]:
    return {"from": query.before, "to": query.after}


@bp.get("/deliveries")
@describe(
    "List deliveries, newest first",
    query=DeliveriesQuery,
    answer=Answer("Deliveries; Link: rel=next where there are more.", {JSON: list[DeliveryAnswer]}),
    errors=(404, 422),
)
def index_deliveries() -> Response:
    """List who was told of what, newest first, each with its tries and their answers."""
    scope, query = current_scope(), read_query(DeliveriesQuery)
    found = (
        select(Delivery)
        .join(Definition, Definition.id == Delivery.definition_id)
        .where(definitions.visible(scope))
    )
    if query.definition:
        definition = definitions.find_definition(scope, str(query.definition))
        found = found.where(Delivery.definition_id == definition.id)
    page, following = _page(found, Delivery, query)
    response = answer_json([DeliveryAnswer.of(delivery) for delivery in page])
    return _linked(
        response, "definitions.index_deliveries", following, query, definition=query.definition
    )


@bp.post("/deliveries/<uuid:delivery_id>/resend")
@describe("Send it again", answer=DeliveryAnswer, status=202, errors=(403, 404, 409))
def resend_delivery(delivery_id: UUID) -> Response:
    """Let a delivery be sent again at once."""
    scope = current_scope()
    delivery = definitions.find_delivery(scope, str(delivery_id))
    definitions.check_may_change(scope, db.session.get_one(Definition, delivery.definition_id))
    resend(delivery)
    audit(scope, "resent delivery", delivery.id)
    db.session.commit()
    return answer_json(DeliveryAnswer.of(delivery), 202)
