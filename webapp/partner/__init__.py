"""The partner's REST API, as one careful client: session, sites, searches, pace.

Knows no Flask and no database. A `PartnerSession` signs calls in, keeps the pace, tries again and
bounds every wait; `sites` and `searches` say what is asked and what may be believed; `SideBySide`
asks many sites at once.
"""

from webapp.partner.addresses import known_data_center
from webapp.partner.credentials import Credentials
from webapp.partner.limits import Limits
from webapp.partner.pace import LocalRateLimiter, RateLimiter, RedisRateLimiter
from webapp.partner.searches import (
    Count,
    Created,
    Newest,
    count_accounts,
    created_between,
    last_login,
    newest_account,
)
from webapp.partner.session import PartnerSession, Question
from webapp.partner.side_by_side import SideBySide
from webapp.partner.sites import Site, SiteClass, SiteConfig, classify, list_sites, site_config

__all__ = [
    "Count",
    "Created",
    "Credentials",
    "Limits",
    "LocalRateLimiter",
    "Newest",
    "PartnerSession",
    "Question",
    "RateLimiter",
    "RedisRateLimiter",
    "SideBySide",
    "Site",
    "SiteClass",
    "SiteConfig",
    "classify",
    "count_accounts",
    "created_between",
    "known_data_center",
    "last_login",
    "list_sites",
    "newest_account",
    "site_config",
]
