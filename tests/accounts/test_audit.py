"""The audit log keeps an entry for as long as it is set to, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from accounts_helpers import Browser
from flask import Flask
from sqlalchemy import func, select, update

from webapp.accounts import audit_log
from webapp.accounts.models import AuditEntry
from webapp.engine import upkeep
from webapp.extensions import db
from webapp.lib.moments import utcnow


def test_old_entries_are_deleted_by_the_janitor(
    app: Flask, signed_in: Callable[[str], Browser]
) -> None:
    admin = signed_in("admin")
    with app.app_context():
        first = select(func.min(AuditEntry.id)).scalar_subquery()
        old = update(AuditEntry).where(AuditEntry.id == first)
        db.session.execute(old.values(at=utcnow() - timedelta(days=401), action="long ago"))
        db.session.commit()
        before = count()
        assert "long ago" in admin.get("/audit").text
        upkeep.tidy()
        assert count() == before - 1
        assert "long ago" not in admin.get("/audit").text
        app.config["AUDIT_KEPT_DAYS"] = 1000.0
        upkeep.tidy(utcnow() + timedelta(days=999))
        assert count() == before - 1


def test_any_number_of_them_goes_in_batches(
    app: Flask, signed_in: Callable[[str], Browser]
) -> None:
    signed_in("admin")
    with app.app_context():
        row = db.session.scalars(select(AuditEntry)).first()
        assert row is not None
        kept, long_ago = count(), utcnow() - timedelta(days=500)
        values = {"company_id": row.company_id, "user_id": row.user_id, "action": "x"}
        lowest = db.session.scalar(select(func.min(AuditEntry.id))) or 0
        many = 2 * audit_log.BATCH + 1
        db.session.execute(
            AuditEntry.__table__.insert(),
            [
                values | {"id": lowest - many + place, "at": long_ago, "subject": "", "address": ""}
                for place in range(many)
            ],
        )
        db.session.commit()
        assert audit_log.drop_old_entries(utcnow() - timedelta(days=400)) == many
        assert count() == kept


def count() -> int:
    return db.session.scalar(select(func.count()).select_from(AuditEntry)) or 0
