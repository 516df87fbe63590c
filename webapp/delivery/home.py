"""What home shows of saved reports: alerts that hold, and runs that did not come out."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import aliased

from webapp.accounts import current_scope
from webapp.delivery.definitions import visible
from webapp.delivery.models import DUE, FAILED, HELD, Definition, DefinitionRun
from webapp.extensions import db
from webapp.lib.moments import utcnow

# A run that is due for longer needs somebody to look.
LATE = timedelta(minutes=10)


def open_alerts() -> list[dict[str, str]]:
    """Return the alerts that hold of what the caller may see: definition, name, alert, words."""
    rows = db.session.execute(
        select(Definition.id, Definition.name, Definition.alert_states)
        .where(visible(current_scope()))
        .order_by(Definition.name, Definition.id)
    )
    return [
        {"definition": row.id, "name": row.name, "alert": alert, "sentence": state["sentence"]}
        for row in rows
        for alert, state in row.alert_states.items()
        if state["since"]
    ]


def stuck_runs() -> list[DefinitionRun]:
    """Return the newest runs the caller may see that did not come out: late, held or failed."""
    newer = aliased(DefinitionRun)
    is_newest = ~exists().where(
        newer.definition_id == DefinitionRun.definition_id,
        newer.created_at > DefinitionRun.created_at,
    )
    is_late = (DefinitionRun.status == DUE) & (DefinitionRun.due_at < utcnow() - LATE)
    is_stuck = is_late | DefinitionRun.status.in_((HELD, FAILED))
    query = (
        select(DefinitionRun)
        .join(Definition)
        .where(visible(current_scope()), is_newest, is_stuck)
        .order_by(DefinitionRun.due_at.desc())
        .limit(6)
    )
    return list(db.session.scalars(query))
