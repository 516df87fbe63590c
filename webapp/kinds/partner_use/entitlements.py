"""Entitlements: how many accounts were bought for a partner and since when, and how full that is.

A result by month says which share is used and in which month the rest is gone at the present
growth. Page: `/entitlements`; API: `/api/v1/entitlements`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import ceil, sqrt
from statistics import mean, stdev
from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response, flash, make_response, render_template, request
from pydantic import AfterValidator, ConfigDict, Field
from sqlalchemy import BigInteger, Date, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from webapp.accounts import Scope, audit, current_scope, require, restrict
from webapp.engine.models import WITH_RESULT, Report, ResultRow
from webapp.engine.shapes import Figure, Row
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import CompanyId, Model, NewId, UtcDateTime, db
from webapp.htmx import redirect_to
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.lib.bodies import (
    Id,
    Moment,
    Text,
    WholeNumber,
    answer_json,
    read_json,
    read_query,
    read_value,
)
from webapp.lib.model import LazyModel
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text, next_month, parse_month, span_text
from webapp.lib.openapi import Describer

# So many months back says how fast a partner grows now; fewer than these say nothing.
MONTHS_BACK, LEAST_MONTHS = 12, 3
# Of a normal distribution: nine times in ten the growth lies between both ends.
DEVIATIONS = 1.645
FARTHEST = 600
# Home shows so many partners, from so many of the newest reports.
MOST_AT_HOME, NEWEST = 4, 100
MOST_KEPT = 1000

bp = Blueprint("entitlements", __name__, template_folder="templates")
restrict(bp)
describe = Describer("Entitlements")


class Entitlement(Model):
    """How many accounts a company has bought for a partner, from a day on until the next row."""

    __tablename__ = "partner_use_entitlement"
    __table_args__ = (UniqueConstraint("company_id", "partner_id", "since"),)

    id: Mapped[NewId]
    company_id: Mapped[CompanyId]
    partner_id: Mapped[str] = mapped_column(String(20))
    since: Mapped[date] = mapped_column(Date)
    accounts: Mapped[int] = mapped_column(BigInteger)
    note: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class NewEntitlement(LazyModel):
    """Accounts bought for a partner from a day on; another one of the same day takes its place."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    partner_id: Annotated[
        str, AfterValidator(PartnerUseParams.model_fields["partner_id"].metadata[0].func)
    ]
    since: date
    accounts: Annotated[int, WholeNumber(1, 10**15)]
    note: Annotated[Text, Field(max_length=200)] = ""


class EntitlementAnswer(LazyModel):
    """Accounts bought for a partner from a day on."""

    model_config = ConfigDict(from_attributes=True)

    id: Id
    partner_id: str
    since: date
    accounts: int
    note: str
    created_at: Moment


class EntitlementQuery(LazyModel):
    """Which are wanted."""

    partner_id: Text | None = Field(None, description="Only those of this partner.")


def of_company(company_id: str, partner_id: str | None = None) -> list[Entitlement]:
    """Return what a company has bought, by partner, the newest first."""
    query = select(Entitlement).where(Entitlement.company_id == company_id)
    if partner_id:
        query = query.where(Entitlement.partner_id == partner_id)
    order = (Entitlement.partner_id, Entitlement.since.desc())
    return list(db.session.scalars(query.order_by(*order).limit(MOST_KEPT)))


def buy(scope: Scope, new: NewEntitlement) -> Entitlement:
    """Store what was bought, in place of one of the same day; commits."""
    kept = of_company(scope.company_id, new.partner_id)
    found = next((one for one in kept if one.since == new.since), None)
    if found is None:
        if len(of_company(scope.company_id)) >= MOST_KEPT:
            raise InvalidParams({"accounts": f"A company keeps at most {MOST_KEPT:,} of these."})
        found = Entitlement(company_id=scope.company_id)
        db.session.add(found)
    for name, value in new.model_dump().items():
        setattr(found, name, value)
    subject = f"partner {new.partner_id}: {new.accounts:,} since {new.since}"
    audit(scope, "stored entitlement", subject)
    db.session.commit()
    return found


def forget(scope: Scope, entitlement_id: str) -> None:
    """Delete one; commits. Raises NotFound."""
    found = db.session.get(Entitlement, entitlement_id)
    if found is None or found.company_id != scope.company_id:
        raise NotFound("There is no such entitlement.")
    subject = f"partner {found.partner_id}: {found.accounts:,} since {found.since}"
    db.session.delete(found)
    audit(scope, "deleted entitlement", subject)
    db.session.commit()


def seed_demo(company_id: str, partner_id: str, accounts: int) -> None:
    """Give the demo's company something bought, in the session; nothing where there is."""
    if not of_company(company_id, partner_id):
        since = date(2020, 1, 1)
        row = Entitlement(company_id=company_id, partner_id=partner_id, since=since)
        row.accounts, row.note = accounts, "made up"
        db.session.add(row)


# What a result says of it


@dataclass(frozen=True)
class EntitlementUse:
    """How full an entitlement is at the end of a month, and when it will be at its present growth.

    crossed:  the month in which it is reached, counting the month as over; None where not in sight
    earliest, latest: of that month, nine times in ten; latest is None where growth may as well stop
    """

    accounts: int
    used: int
    crossed: date | None = None
    earliest: date | None = None
    latest: date | None = None

    @property
    def percent(self) -> float:
        return self.used / self.accounts * 100

    def words(self) -> str:
        """Return the month in which it is full, in words."""
        if self.used >= self.accounts:
            return f"of {self.accounts:,} bought: {self.used - self.accounts:,} over"
        left = f"of {self.accounts:,} bought"
        if self.crossed is None or self.earliest is None:
            return f"{left}; not full in sight at the present growth"
        latest = month_text(self.latest) if self.latest else "never"
        span = span_text(month_text(self.earliest), latest)
        return f"{left}; full in {month_text(self.crossed)} ({span}) at the present growth"


def usage(bought: Iterable[Entitlement], months: Sequence[Row]) -> EntitlementUse | None:
    """Return how full an entitlement is at the end of the last month of a result.

    months: rows of the months that are over, oldest first: month, total_users, delta
    None where nothing was bought by then, or the total is not known.
    """
    last = months[-1]
    month = parse_month(last["month"])
    held = [one for one in bought if one.since < next_month(month)]
    total = last["total_users"]
    if not held or total is None:
        return None
    accounts = max(held, key=lambda one: one.since).accounts
    grown = [row["delta"] for row in months[-MONTHS_BACK:] if row["delta"] is not None]
    if total >= accounts or len(grown) < LEAST_MONTHS:
        return EntitlementUse(accounts, total)
    a_month = mean(grown)
    reach = DEVIATIONS * stdev(grown) / sqrt(len(grown))

    def reached(growth: float) -> date | None:
        ahead = ceil((accounts - total) / growth) if growth > 0 else FARTHEST
        return next_month(month, ahead) if ahead < FARTHEST else None

    return EntitlementUse(
        accounts, total, reached(a_month), reached(a_month + reach), reached(a_month - reach)
    )


def share_of(bought: Sequence[Entitlement], months: Sequence[Row]) -> tuple[Figure, ...]:
    """Return the figure about what was bought, beside `usage`; none where nothing was."""
    found = usage(bought, months) if months else None
    if found is None:
        return ()
    return (Figure("Share of what is bought", f"{found.percent:.1f} %", "text", found.words()),)


@bp.app_template_global("bought_shares")
def shares_now() -> list[tuple[str, str, Figure]]:
    """Return how full what was bought is by each partner's newest result by month.

    Shape: partner, id of the report, figure; of partners without such a result nothing
    """
    company_id = current_scope().company_id
    bought = of_company(company_id)
    if not bought:
        return []
    newest = (
        select(Report.id, Report.params)
        .where(
            Report.company_id == company_id,
            Report.kind == "partner-use",
            Report.status.in_(WITH_RESULT),
        )
        .order_by(Report.created_at.desc())
        .limit(NEWEST)
    )
    by_month = [row for row in db.session.execute(newest) if row.params.get("mode") != "summary"]
    latest = {row.params["partner_id"]: row.id for row in reversed(by_month)}
    found = []
    for partner_id in sorted({one.partner_id for one in bought} & set(latest))[:MOST_AT_HOME]:
        rows = db.session.scalars(
            select(ResultRow.data)
            .where(ResultRow.report_id == latest[partner_id], ResultRow.table_name == "months")
            .order_by(ResultRow.position)
        )
        closed = [row for row in rows if not row["running"]]
        mine = [one for one in bought if one.partner_id == partner_id]
        found += [(partner_id, latest[partner_id], one) for one in share_of(mine, closed)]
    return found


# Pages and API


@bp.get("/entitlements")
def index_entitlements() -> Response:
    """List what was bought, with a form for more."""
    return _entitlements_page()


def _entitlements_page(errors: dict[str, str] | None = None, status: int = 200) -> Response:
    scope = current_scope()
    page = render_template(
        "partner_use/entitlements.html",
        entitlements=of_company(scope.company_id),
        scope=scope,
        errors=errors or {},
        typed=request.form if errors else {},
        today=utcnow().date(),
    )
    return make_response(page, status)


@bp.post("/entitlements")
@require("expert")
def add_entitlement() -> Response:
    """Store what was bought."""
    form: dict[str, Any] = request.form.to_dict()
    form.pop("csrf_token", None)
    # People write 25,000.
    form["accounts"] = form.get("accounts", "").replace(",", "").replace(" ", "")
    try:
        buy(current_scope(), read_value(NewEntitlement, form))
    except InvalidParams as error:
        return _entitlements_page(error.errors, 422)
    flash("It is stored. Results by month show which share is used.")
    return redirect_to("/entitlements")


@bp.post("/entitlements/<uuid:entitlement_id>/delete")
@require("expert")
def delete_entitlement(entitlement_id: UUID) -> Response:
    """Forget one."""
    forget(current_scope(), str(entitlement_id))
    flash("It is deleted.")
    return redirect_to("/entitlements")


@bp.get("/api/v1/entitlements")
@describe(
    "Accounts bought for partners",
    query=EntitlementQuery,
    answer=list[EntitlementAnswer],
    errors=(422,),
)
def list_entitlements() -> Response:
    """Return what was bought, by partner, the newest first."""
    query = read_query(EntitlementQuery)
    found = of_company(current_scope().company_id, query.partner_id)
    return answer_json([EntitlementAnswer.model_validate(one) for one in found])


@bp.post("/api/v1/entitlements")
@require("expert")
@describe(
    "Store accounts bought for a partner",
    body=NewEntitlement,
    answer=EntitlementAnswer,
    status=201,
    errors=(403, 422),
)
def create_entitlement() -> Response:
    """Store what was bought; one of the same partner and day is replaced."""
    made = buy(current_scope(), read_json(NewEntitlement))
    return answer_json(EntitlementAnswer.model_validate(made), 201)


@bp.delete("/api/v1/entitlements/<uuid:entitlement_id>")
@require("expert")
@describe("Delete an entitlement", status=204, errors=(403, 404))
def remove_entitlement(entitlement_id: UUID) -> Response:
    """Forget one."""
    forget(current_scope(), str(entitlement_id))
    return Response(status=204)
