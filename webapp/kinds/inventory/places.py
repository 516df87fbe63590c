"""Periods and units of a company: found, listed, made and changed; the tree that units form.

A company's root unit is made at its first use of the inventory and never a second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from webapp.accounts import Company
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db
from webapp.kinds.inventory.bodies import PeriodIn, SettingsBody, UnitIn
from webapp.kinds.inventory.models import Entry, Period, Settings, Unit
from webapp.lib.texts import lookup_id
from webapp.lib.upserts import upsert


class Tree:
    """The units of a company as a tree; siblings in their position, then by name."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self.by_key = {unit.key: unit for unit in units}
        self._children: dict[int | None, list[Unit]] = {}
        for unit in sorted(self.by_key.values(), key=lambda one: (one.position, one.name, one.key)):
            self._children.setdefault(unit.parent_key, []).append(unit)

    def below(self, top: Unit) -> list[tuple[Unit, int]]:
        """Return a unit and everything below it with its depth, parents before children."""
        found: list[tuple[Unit, int]] = []
        waiting = [(top, 0)]
        while waiting:
            unit, depth = waiting.pop()
            found.append((unit, depth))
            children = self._children.get(unit.key, [])
            waiting.extend((child, depth + 1) for child in reversed(children))
        return found

    def walk(self) -> list[tuple[Unit, int]]:
        """Return all units with their depth, parents before children."""
        return [one for root in self._children.get(None, []) for one in self.below(root)]


def ensure_root(company_id: str) -> Unit:
    """Return the company's root unit, made and committed at its first use."""
    query = select(Unit).where(Unit.company_id == company_id, Unit.parent_key.is_(None))
    root = db.session.scalar(query)
    if root is None:
        company = db.session.get(Company, company_id)
        assert company is not None  # a scope names a company that exists
        values = {"company_id": company_id, "id": str(uuid4()), "name": company.name, "position": 0}
        # Two first uses at once: the index lets one of them make it.
        db.session.execute(upsert(db.session, Unit).values(values).on_conflict_do_nothing())
        db.session.commit()
        root = db.session.scalars(query).one()
    return root


def settings_of(session: Any, company_id: str) -> SettingsBody:
    """Return what the company's statements say beside their figures."""
    found = session.get(Settings, company_id)
    return SettingsBody.model_validate(found) if found else SettingsBody()


def put_settings(company_id: str, body: SettingsBody) -> None:
    """Keep what the company's statements say, in the session; the caller commits."""
    db.session.merge(Settings(company_id=company_id, **body.model_dump()))


def list_periods(company_id: str) -> list[Period]:
    """Return the company's periods, the newest first."""
    query = select(Period).where(Period.company_id == company_id)
    return list(db.session.scalars(query.order_by(Period.start_date.desc(), Period.key)))


def read_tree(company_id: str) -> Tree:
    """Return the company's units; there is at least the root."""
    ensure_root(company_id)
    return Tree(db.session.scalars(select(Unit).where(Unit.company_id == company_id)))


def find_period(company_id: str, period_id: Any) -> Period:
    """Return a period of the company; another company's is as unknown as none."""
    query = select(Period).where(Period.company_id == company_id)
    period = db.session.scalar(query.where(Period.id == lookup_id(str(period_id))))
    if period is None:
        raise NotFound("There is no such reporting period.")
    return period


def find_unit(company_id: str, unit_id: Any) -> Unit:
    """Return a unit of the company; another company's is as unknown as none."""
    ensure_root(company_id)
    query = select(Unit).where(Unit.company_id == company_id)
    unit = db.session.scalar(query.where(Unit.id == lookup_id(str(unit_id))))
    if unit is None:
        raise NotFound("There is no such organizational unit.")
    return unit


def put_periods(company_id: str, bodies: Sequence[PeriodIn]) -> list[Period]:
    """Make periods, or change those whose id is known; return them in their order.

    The caller commits, beside what the audit log says of it.
    Of a known one only what was sent is changed: a new name does not unlock it.
    Raises: InvalidParams when entries would no longer lie within their period
    """
    known = {period.id: period for period in list_periods(company_id)}
    found = []
    for place, body in enumerate(bodies):
        period = known.get(str(body.id)) if body.id else None
        if period is None:
            period = Period(company_id=company_id, id=str(body.id or uuid4()))
            known[period.id] = period
            db.session.add(period)
        outside = select(Entry.id).where(
            Entry.period_key == period.key,
            (Entry.start_date < body.start_date) | (Entry.end_date > body.end_date),
        )
        if period.key is not None and db.session.scalar(outside.limit(1)) is not None:
            db.session.rollback()
            sentence = "There are entries outside these dates; change them first."
            raise InvalidParams({f"periods.{place}.start_date": sentence})
        _take_over(period, body)
        found.append(period)
    _flush()
    return found


def _flush() -> None:
    """Send what is new to the database; raises Conflict where somebody else was first."""
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise Conflict("Somebody else stored the same at this moment; send it again.") from None


def _take_over(row: Period | Unit, body: PeriodIn | UnitIn) -> None:
    """Take over all of a body into a new row, and what was sent into a known one."""
    for name, value in body.model_dump(exclude={"id", "parent_id"}).items():
        if row.key is None or name in body.model_fields_set:
            setattr(row, name, value)


def put_units(company_id: str, bodies: Sequence[UnitIn]) -> list[Unit]:
    """Make units, or change those whose id is known; return them in their order.

    The caller commits, beside what the audit log says of it.
    A new unit without a parent goes directly below the root; a known one stays where it is unless a
    parent is sent, null for the root. Parents may come after their children in the list.
    Raises: InvalidParams for an unknown parent, and for a unit that would lie below itself
    """
    root = ensure_root(company_id)
    query = select(Unit).where(Unit.company_id == company_id)
    known = {unit.id: unit for unit in db.session.scalars(query)}
    found = []
    for body in bodies:
        unit = known.get(str(body.id)) if body.id else None
        if unit is None:
            unit = Unit(company_id=company_id, id=str(body.id or uuid4()), parent_key=root.key)
            known[unit.id] = unit
            db.session.add(unit)
        _take_over(unit, body)
        found.append(unit)
    _flush()
    problems = [_move(unit, body, known, root) for unit, body in zip(found, bodies, strict=True)]
    parents = {unit.key: unit.parent_key for unit in known.values()}
    for place, unit in enumerate(found):
        seen, at = {unit.key}, unit.parent_key
        while at is not None and at not in seen:
            seen.add(at)
            at = parents.get(at)
        if at is not None:
            problems[place] = "A unit cannot be below itself."
    if any(problems):
        db.session.rollback()
        raise InvalidParams(
            {f"units.{place}.parent_id": one for place, one in enumerate(problems) if one}
        )
    _flush()
    return found


def delete_unit(unit: Unit) -> None:
    """Delete a unit, in the session; the caller commits. Raises: Conflict while it is in use"""
    query = select(Unit.id).where(Unit.parent_key == unit.key).limit(1)
    if unit.parent_key is None:
        raise Conflict("The root of the company stays.")
    if db.session.scalar(query):
        raise Conflict("There are units below it; move or delete them first.")
    if db.session.scalar(select(Entry.id).where(Entry.unit_key == unit.key).limit(1)):
        raise Conflict("There are entries of it; give them another unit first.")
    db.session.delete(unit)


def _move(unit: Unit, body: UnitIn, known: dict[str, Unit], root: Unit) -> str:
    """Put a unit below its new parent where one was sent; return what is wrong with it."""
    if unit is root:
        return "The root has no parent." if body.parent_id else ""
    if "parent_id" in body.model_fields_set:
        parent = known.get(str(body.parent_id)) if body.parent_id else root
        if parent is None:
            return "There is no such unit."
        unit.parent_key = parent.key
    return ""
