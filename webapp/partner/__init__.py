"""The partner's REST API, as one careful client: session, sites, searches, pace.

Knows no Flask and no database. A `PartnerSession` signs calls in, keeps the pace, tries again and
bounds every wait; `sites`, `groups` and `searches` say what is asked and what may be believed;
`side_by_side` works many sites at once.
"""

from webapp.partner.credentials import Credentials
from webapp.partner.data_centers import data_center_domain
from webapp.partner.groups import SiteClass, classify
from webapp.partner.limits import Limits
from webapp.partner.pace import LocalPace, NoPace, Pace
from webapp.partner.pool import side_by_side
from webapp.partner.redis_pace import RedisPace
from webapp.partner.searches import (
    Count,
    Created,
    Newest,
    count_accounts,
    created_between,
    last_login,
    newest_account,
)
from webapp.partner.session import PartnerSession
from webapp.partner.sites import Site, SiteConfig, list_sites, site_config

__all__ = [
    "Count",
    "Created",
    "Credentials",
    "Limits",
    "LocalPace",
    "Newest",
    "NoPace",
    "Pace",
    "PartnerSession",
    "RedisPace",
    "Site",
    "SiteClass",
    "SiteConfig",
    "classify",
    "count_accounts",
    "created_between",
    "data_center_domain",
    "last_login",
    "list_sites",
    "newest_account",
    "side_by_side",
    "site_config",
]
