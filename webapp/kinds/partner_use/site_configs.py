"""How sites are set up, remembered for a day: which are children, and where each is served.

Only ever looked up for sites that the caller's own key has just been shown. The answer of the
partner holds captcha secrets of the site; nothing of it is kept but what is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import JSON, String, delete, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import CompanyId, Model, UtcDateTime
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert
from webapp.partner import SiteConfig

REMEMBERED = timedelta(days=1)
KEYS_PER_QUERY = 500


class StoredSiteConfig(Model):
    """One site's configuration as far as a report needs it."""

    __tablename__ = "partner_use_site_setup"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    partner_id: Mapped[str] = mapped_column(String(20), primary_key=True)
    api_key: Mapped[str] = mapped_column(String(200), primary_key=True)
    data_center: Mapped[str] = mapped_column(String(40))
    owner: Mapped[str | None] = mapped_column(String(200))
    members: Mapped[list[str]] = mapped_column(JSON)
    services: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    read_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SiteConfigCache:
    """The remembered configurations of one company's partner."""

    def __init__(self, engine: Engine, company_id: str, partner_id: str) -> None:
        self._engine, self._company_id, self._partner_id = engine, company_id, partner_id

    def load(self, api_keys: Iterable[str], since: datetime | None = None) -> dict[str, SiteConfig]:
        """Return what was read within a day, or since a moment, by API key."""
        wanted, oldest = list(api_keys), since or utcnow() - REMEMBERED
        found: dict[str, SiteConfig] = {}
        table = StoredSiteConfig
        with self._engine.connect() as connection:
            for first in range(0, len(wanted), KEYS_PER_QUERY):
                rows = connection.execute(
                    select(
                        table.api_key, table.data_center, table.owner, table.members, table.services
                    ).where(
                        table.company_id == self._company_id,
                        table.partner_id == self._partner_id,
                        table.api_key.in_(wanted[first : first + KEYS_PER_QUERY]),
                        table.read_at >= oldest,
                    )
                )
                for key, data_center, owner, members, on in rows:
                    services = None if on is None else tuple(on)
                    found[key] = SiteConfig(data_center, owner, tuple(members), services=services)
        return found

    def save(self, configs: Mapping[str, SiteConfig]) -> None:
        """Keep what was just read. Where the group was not shown nothing is known for good."""
        now = utcnow()
        rows = [
            {
                "company_id": self._company_id,
                "partner_id": self._partner_id,
                "api_key": key,
                "data_center": config.data_center,
                "owner": config.owner,
                "members": list(config.members),
                "services": None if config.services is None else list(config.services),
                "read_at": now,
            }
            for key, config in configs.items()
            if config.has_group_config and len(key) <= 200
        ]
        if not rows:
            return
        with self._engine.begin() as connection:
            stale = StoredSiteConfig.read_at < now - REMEMBERED
            connection.execute(delete(StoredSiteConfig).where(stale))
            statement = upsert(connection, StoredSiteConfig)
            key = ["company_id", "partner_id", "api_key"]
            new = {name: statement.excluded[name] for name in rows[0] if name not in key}
            connection.execute(statement.on_conflict_do_update(index_elements=key, set_=new), rows)
