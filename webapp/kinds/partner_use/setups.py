"""How sites are set up, remembered for a day: which are children, and where each is served.

Only ever looked up for sites that the caller's own key has just been shown. The answer of the
partner holds captcha secrets of the site; nothing of it is kept but what is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, Uuid, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Model, UtcDateTime
from webapp.lib.moments import utcnow
from webapp.partner import SiteConfig

REMEMBERED = timedelta(days=1)
KEYS_PER_QUERY = 500


class SiteSetup(Model):
    """One site's configuration as far as a report needs it."""

    __tablename__ = "partner_use_site_setup"

    company_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("company.id"), primary_key=True
    )
    partner_id: Mapped[str] = mapped_column(String(20), primary_key=True)
    api_key: Mapped[str] = mapped_column(String(200), primary_key=True)
    data_center: Mapped[str] = mapped_column(String(40))
    owner: Mapped[str | None] = mapped_column(String(200))
    members: Mapped[list[str]] = mapped_column(JSON)
    read_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Setups:
    """The remembered set-ups of one company's partner."""

    def __init__(self, engine: Engine, company_id: str, partner_id: str) -> None:
        self._engine, self._company_id, self._partner_id = engine, company_id, partner_id

    def known(
        self, api_keys: Iterable[str], since: datetime | None = None
    ) -> dict[str, SiteConfig]:
        """Return what was read within a day, or since a moment, by API key."""
        wanted, oldest = list(api_keys), since or utcnow() - REMEMBERED
        found: dict[str, SiteConfig] = {}
        with self._engine.connect() as connection:
            for first in range(0, len(wanted), KEYS_PER_QUERY):
                rows = connection.execute(
                    select(
                        SiteSetup.api_key,
                        SiteSetup.data_center,
                        SiteSetup.owner,
                        SiteSetup.members,
                    ).where(
                        SiteSetup.company_id == self._company_id,
                        SiteSetup.partner_id == self._partner_id,
                        SiteSetup.api_key.in_(wanted[first : first + KEYS_PER_QUERY]),
                        SiteSetup.read_at >= oldest,
                    )
                )
                for key, data_center, owner, members in rows:
                    found[key] = SiteConfig(
                        data_center=data_center,
                        owner=owner,
                        members=tuple(members),
                        has_group_config=True,
                    )
        return found

    def remember(self, configs: Mapping[str, SiteConfig]) -> None:
        """Keep what was just read. Where the group was not shown nothing is known for good."""
        now = utcnow()
        rows: list[dict[str, Any]] = [
            {
                "company_id": self._company_id,
                "partner_id": self._partner_id,
                "api_key": key,
                "data_center": config.data_center,
                "owner": config.owner,
                "members": list(config.members),
                "read_at": now,
            }
            for key, config in configs.items()
            if config.has_group_config and len(key) <= 200
        ]
        if not rows:
            return
        with self._engine.begin() as connection:
            connection.execute(
                delete(SiteSetup).where(SiteSetup.read_at < now - REMEMBERED),
            )
            connection.execute(_upsert(connection.dialect.name), rows)


def _upsert(dialect: str) -> Any:
    maker = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = maker(SiteSetup)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["company_id", "partner_id", "api_key"],
        set_={
            "data_center": new.data_center,
            "owner": new.owner,
            "members": new.members,
            "read_at": new.read_at,
        },
    )
