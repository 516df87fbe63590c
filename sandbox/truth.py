"""What a right report must say: the demo data as plain functions, without HTTP.

They read the same accounts as the server, so a test compares a report with them site by site and
month by month. Deletions by fault are the server's own and not in here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sandbox.keys import KEYS
from sandbox.moments import from_ms, iso, month_start_ms, month_text, parse_month, to_ms
from sandbox.partners import Site
from sandbox.world import World

DEMO_KEY = "demo-user-key"


@lru_cache(maxsize=1)
def demo_world() -> World:
    """Return the world of the default seed and end of data."""
    return World()


def sites(partner_id: int, *, user_key: str = DEMO_KEY, world: World | None = None) -> list[Site]:
    """Return the sites of a partner that a user key sees, in the order of the list."""
    key = KEYS[user_key]
    return [site for site in (world or demo_world()).sites(partner_id) if key.sees(site)]


def is_child(site: Site) -> bool:
    """Return whether a report lists the site without counting it."""
    return site.is_child


def count(site: Site, before: datetime | None = None, *, world: World | None = None) -> int:
    """Return how many accounts were created before an aware moment, or in all.

    For a child it is what a search with its key would say: its parent's number.
    """
    store = (world or demo_world()).store(site)
    if before is None:
        return store.total
    # Accounts lie on whole milliseconds: before 0.5 ms past t is at t or before.
    rest = before.astimezone(UTC).microsecond % 1000
    return store.count_before(to_ms(before) + (1 if rest else 0))


def total_users(site: Site, month: str, *, world: World | None = None) -> int:
    """Return the accounts at the end of `YYYY-MM`: created before the next month began (UTC)."""
    store = (world or demo_world()).store(site)
    return store.count_before(month_start_ms(parse_month(month) + 1))


def last_created(site: Site, *, world: World | None = None) -> datetime | None:
    """Return when the newest account was created, None without accounts."""
    store = (world or demo_world()).store(site)
    return from_ms(store.created_ms(store.total - 1)) if store.total else None


def last_login(site: Site, *, world: World | None = None) -> datetime | None:
    """Return the newest sign-in, None when there never was one."""
    store = (world or demo_world()).store(site)
    if not store.total or _home(site, world).logins != "yes":
        return None
    return from_ms(store.login_ms(store.total - 1))


def problem(site: Site) -> int | None:
    """Return the error code with which the partner refuses a site's searches."""
    return (site.refuses or 403007) if site.deleted or site.refuses else None


def report(
    partner_id: int,
    months: tuple[str, str] | None = None,
    *,
    user_key: str = DEMO_KEY,
    world: World | None = None,
) -> dict[str, Any]:
    """Return the truth about a partner as JSON values, named as in the report.

    Shape: partner_id, summary, sites; with months also `months` and each site's `months`.
    A child and a refused site have null numbers and take no part in any sum.
    """
    world = world or demo_world()
    span = _span(months)
    listed = sites(partner_id, user_key=user_key, world=world)
    rows = [_site_row(site, span, world) for site in listed]
    counted = [row for row in rows if row["account_count"] is not None]
    answer = {"partner_id": str(partner_id), "summary": _summary(rows, counted), "sites": rows}
    if months:
        answer["months"] = [
            _sum_of([row["months"][place] for row in counted], month)
            for place, month in enumerate(span)
        ]
    return answer


def _span(months: tuple[str, str] | None) -> list[str]:
    if not months:
        return []
    first, last = (parse_month(month) for month in months)
    return [month_text(number) for number in range(first, last + 1)]


def _site_row(site: Site, span: list[str], world: World) -> dict[str, Any]:
    counted = not site.is_child and problem(site) is None
    row: dict[str, Any] = {
        "site_id": str(site.site_id),
        "name": site.name,
        "api_key": site.api_key,
        "data_center": site.data_center,
        "is_child": site.is_child,
        "parent_api_key": site.parent_api_key,
        "account_count": count(site, world=world) if counted else None,
        "last_login": _text(last_login(site, world=world)) if counted else None,
        "last_created": _text(last_created(site, world=world)) if counted else None,
        "problem": problem(site),
    }
    if span:
        row["months"] = [_month_row(site, month, world) for month in span] if counted else []
    return row


def _month_row(site: Site, month: str, world: World) -> dict[str, Any]:
    total = total_users(site, month, world=world)
    before = total_users(site, month_text(parse_month(month) - 1), world=world)
    return {"month": month, "total_users": total, "delta": total - before}


def _sum_of(rows: list[dict[str, Any]], month: str) -> dict[str, Any]:
    sums = {name: sum(row[name] for row in rows) for name in ("total_users", "delta")}
    return {"month": month, **sums}


def _summary(rows: list[dict[str, Any]], counted: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "site_count": len(rows),
        "child_site_count": sum(row["is_child"] for row in rows),
        "account_count": sum(row["account_count"] for row in counted),
        "last_login": _newest(counted, "last_login"),
        "last_created": _newest(counted, "last_created"),
    }


def _newest(rows: list[dict[str, Any]], name: str) -> str | None:
    return max((row[name] for row in rows if row[name]), default=None)


def _home(site: Site, world: World | None) -> Site:
    return (world or demo_world()).by_key.get(site.parent_api_key or site.api_key, site)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else iso(to_ms(moment))
