"""The plain way: what the original request describes, one call after the other.

List the partner's sites; read each one's configuration; for each that is no child ask for the
number of accounts, the newest creation and the newest sign-in. One connection is kept open and
nothing else is done: no pace, no second try, nothing stored. The baseline of a summary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

QUERIES = (
    "SELECT count(*) FROM accounts",
    "SELECT UID, created FROM accounts ORDER BY created DESC LIMIT 1",
    "SELECT UID, lastLogin FROM accounts ORDER BY lastLogin DESC LIMIT 1",
)
TIMEOUT_S = 60


@dataclass(frozen=True)
class PlainSummary:
    """What the script found out, and how many requests it took."""

    account_count: int
    site_count: int
    requests: int


class PlainWay:
    """A script's view of the partner: one address, one key, one call at a time."""

    def __init__(self, url_template: str, user_key: str, secret: str) -> None:
        self._url_template = url_template
        self._signed = {"userKey": user_key, "secret": secret}
        self._http = requests.Session()
        self.requests = 0

    def call(self, method: str, data_center: str, **params: str) -> dict[str, Any]:
        """Return the body of one answer."""
        namespace = method.partition(".")[0]
        url = self._url_template.format(namespace=namespace, data_center=data_center)
        self.requests += 1
        answer = self._http.post(
            f"{url}/{method}", data={**self._signed, **params}, timeout=TIMEOUT_S
        )
        body: dict[str, Any] = answer.json()
        return body

    def summary(self, partner_id: str) -> PlainSummary:
        """Return a partner's summary. Raises RuntimeError where a site refuses."""
        listed = self.call("admin.getUserSites", "us1", targetPartnerID=partner_id)
        sites = listed["sites"][0]["sites"]
        accounts = 0
        for site in sites:
            key, home = site["apiKey"], site["dataCenter"]
            config = self.call(
                "admin.getSiteConfig", home, apiKey=key, includeSiteGroupConfig="true"
            )
            if config.get("siteGroupOwner") not in (None, "", key):
                continue
            home = config.get("dataCenter") or home
            found = [self.call("accounts.search", home, apiKey=key, query=one) for one in QUERIES]
            if any(answer["errorCode"] for answer in found):
                raise RuntimeError(f"{key}: {found[0].get('errorMessage')}")
            accounts += found[0]["results"][0]["count(*)"]
        return PlainSummary(accounts, len(sites), self.requests)
