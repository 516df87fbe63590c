"""Links to one result for people without an account: read-only, expiring, revocable, counted.

The token stands in the link alone; kept is its hash. A link ends with its report, its time, its
maker's right to read the report, or when somebody revokes it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from flask import current_app, request
from pydantic import ConfigDict, Field
from sqlalchemy import Index, String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from webapp.accounts import Scope, User, audit, scope_of
from webapp.accounts.keys import hash_secret, random_text
from webapp.accounts.passwords import hash_password
from webapp.engine.kind import ReportKind, Table
from webapp.engine.models import Report
from webapp.engine.registry import kind_named, readable
from webapp.engine.service import audited
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound
from webapp.extensions import CompanyId, JobId, Model, NewId, UserId, UtcDateTime, db
from webapp.lib.bodies import Text, WholeNumber
from webapp.lib.model import LazyModel
from webapp.lib.moments import utcnow

MOST_DAYS = 365
SHORTEST_PASSWORD = 6
MOST_LINKS = 50
GONE = "This link does not work any more. Ask for a new one."


class NewShare(LazyModel):
    """What a link is made with; `password` where the link alone is not to be enough."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    days: Annotated[int, WholeNumber(1, MOST_DAYS)] = Field(7, description="Until it ends.")
    note: Annotated[Text, Field(max_length=200)] = ""
    password: Annotated[Text, Field(max_length=200)] = ""


class ShareLink(Model):
    """One link to one result.

    token_hash:    of what stands in the link, which is shown once and not kept
    password_hash: what readers must know besides; None where the link is enough
    """

    __tablename__ = "share_link"
    __table_args__ = (Index("ix_share_link_report", "report_id"),)

    id: Mapped[NewId]
    report_id: Mapped[JobId]
    company_id: Mapped[CompanyId]
    user_id: Mapped[UserId]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    note: Mapped[str] = mapped_column(String(200), default="")
    password_hash: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    times_opened: Mapped[int] = mapped_column(default=0)
    last_opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def is_open(self) -> bool:
        return self.revoked_at is None and self.expires_at > utcnow()


def check_may_share(scope: Scope, report: Report) -> None:
    """Raise NotAllowed for who could not have made the report."""
    role = kind_named(report.kind).run_role
    if not scope.may(role):
        raise NotAllowed(f"Sharing this report needs the role {role} in this company.")


def make_share(
    scope: Scope, report: Report, *, days: int, note: str = "", password: str = ""
) -> tuple[ShareLink, str]:
    """Return a link to a report's result, and the token that is shown this once; commits.

    Raises: NotAllowed, Conflict while there is no result, InvalidParams
    """
    check_may_share(scope, report)
    if not report.has_result:
        raise Conflict("There is no result to share yet.")
    if password and len(password) < SHORTEST_PASSWORD:
        raise InvalidParams(
            {"password": f"Use at least {SHORTEST_PASSWORD} characters, or leave it empty."}
        )
    if sum(link.is_open for link in shares_of(report)) >= MOST_LINKS:
        raise InvalidParams(
            {"note": f"A report has at most {MOST_LINKS} open links; revoke one first."}
        )
    token = random_text(40)
    link = ShareLink(
        report_id=report.id,
        company_id=scope.company_id,
        user_id=scope.user_id,
        token_hash=hash_secret(token),
        note=note,
        password_hash=hash_password(password) if password else None,
        expires_at=utcnow() + timedelta(days=days),
    )
    db.session.add(link)
    db.session.flush()
    audit(scope, "shared", f"{audited(report)} by link {link.id}")
    db.session.commit()
    return link, token


def address_of(token: str) -> str:
    """Return the address people are given: at PUBLIC_URL, else where this request came to."""
    return f"{(current_app.config['PUBLIC_URL'] or request.url_root).rstrip('/')}/shared/{token}"


def shares_of(report: Report) -> list[ShareLink]:
    """Return the links of a report, newest first, those that ended too."""
    query = select(ShareLink).where(ShareLink.report_id == report.id)
    return list(db.session.scalars(query.order_by(ShareLink.created_at.desc(), ShareLink.id)))


def revoke_share(scope: Scope, report: Report, share_id: str) -> None:
    """End a link of a report; commits. Raises NotFound, NotAllowed."""
    check_may_share(scope, report)
    link = db.session.get(ShareLink, share_id)
    if link is None or link.report_id != report.id:
        raise NotFound("There is no such link.")
    if link.user_id != scope.user_id and not scope.may("admin"):
        raise NotAllowed("Only who made a link and admins may revoke it.")
    if link.revoked_at is None:
        link.revoked_at = utcnow()
        audit(scope, "revoked link", f"{audited(report)} link {link.id}")
    db.session.commit()


def find_share(token: str) -> tuple[ShareLink, Report]:
    """Return the link of a token and its report; raises NotFound where it has ended."""
    query = select(ShareLink).where(ShareLink.token_hash == hash_secret(token))
    link = db.session.scalar(query)
    maker = db.session.get(User, link.user_id) if link and link.is_open else None
    scope = scope_of(maker, link.company_id) if link and maker else None
    if link is None or scope is None:
        raise NotFound(GONE)
    mine = select(Report).where(Report.id == link.report_id, readable(scope))
    report = db.session.scalar(mine)
    if report is None or not report.has_result:
        raise NotFound(GONE)
    return link, report


def count_opening(link: ShareLink, report: Report) -> None:
    """Write down that somebody looked; commits."""
    counted = {"times_opened": ShareLink.times_opened + 1, "last_opened_at": utcnow()}
    db.session.execute(update(ShareLink).where(ShareLink.id == link.id).values(counted))
    subject = f"{audited(report)} by link {link.id}"
    audit(None, "opened link", subject, company_id=link.company_id)
    db.session.commit()


def shared_tables(kind: ReportKind, head: dict[str, object]) -> tuple[Table, ...]:
    """Return a result's tables as people without an account see them: no internal columns."""
    return tuple(
        replace(
            table,
            columns=tuple(column for column in table.columns if not column.is_internal),
            opens=False,
            opens_into=("", ""),
            explained=frozenset(),
        )
        for table in kind.tables(head)
    )
