"""`/api/v1/reports/<id>/links`: links to a result for people without an account."""

from __future__ import annotations

from uuid import UUID

from flask import Response
from pydantic import Field

from webapp.accounts import current_scope
from webapp.api.views import bp, describe
from webapp.engine import service, shares
from webapp.engine.shares import NewShare, ShareLink
from webapp.lib.bodies import Id, Moment, answer_json, read_json
from webapp.lib.model import LazyModel


class ShareAnswer(LazyModel):
    """One link to a result."""

    id: Id
    note: str
    has_password: bool
    created_by: Id
    created_at: Moment
    expires_at: Moment
    revoked_at: Moment | None
    times_opened: int
    last_opened_at: Moment | None
    url: str | None = Field(None, description="The link itself, shown once, when it is made.")

    @classmethod
    def of(cls, link: ShareLink, url: str | None = None) -> ShareAnswer:
        """Return the answer about a link."""
        same = ("id", "note", "created_at", "expires_at", "revoked_at", "times_opened")
        return cls(
            **{name: getattr(link, name) for name in same},
            last_opened_at=link.last_opened_at,
            has_password=link.password_hash is not None,
            created_by=link.user_id,
            url=url,
        )


@bp.get("/reports/<uuid:report_id>/links")
@describe("Links to a report's result", answer=list[ShareAnswer], errors=(403, 404))
def index_links(report_id: UUID) -> Response:
    """List the links of a report, newest first, those that ended too."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    shares.check_may_share(scope, report)
    return answer_json([ShareAnswer.of(link) for link in shares.shares_of(report)])


@bp.post("/reports/<uuid:report_id>/links")
@describe(
    "Make a link to a result, for people without an account",
    body=NewShare,
    answer=ShareAnswer,
    status=201,
    errors=(403, 404, 409, 422),
)
def create_link(report_id: UUID) -> Response:
    """Make a link; its address is in this answer alone."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    wanted = read_json(NewShare, optional=True)
    link, token = shares.make_share(scope, report, **wanted.model_dump())
    return answer_json(ShareAnswer.of(link, shares.address_of(token)), 201)


@bp.delete("/reports/<uuid:report_id>/links/<uuid:link_id>")
@describe("End a link", answer=None, status=204, errors=(403, 404))
def revoke_link(report_id: UUID, link_id: UUID) -> Response:
    """End a link at once."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    shares.revoke_share(scope, report, str(link_id))
    return Response(status=204)
