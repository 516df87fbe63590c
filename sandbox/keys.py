"""The demo user keys: their secrets and what each may do."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from sandbox.partners import Site

ALL_METHODS = frozenset(
    {"admin.getUserSites", "admin.getSiteConfig", "accounts.search", "ids.search"}
)


@dataclass(frozen=True)
class UserKey:
    """A user key and its rights.

    every:       sees one site in so many of each partner, the first included
    counts_only: any query but `count(*)` is refused
    sees_groups: whether includeSiteGroupConfig is honoured; if not it is an ignored parameter
    """

    name: str
    secret: str = field(repr=False)
    methods: frozenset[str] = ALL_METHODS
    every: int = 1
    counts_only: bool = False
    sees_groups: bool = True

    def sees(self, site: Site) -> bool:
        """Whether this key may see a site."""
        return site.position % self.every == 0

    def accepts(self, secret: str) -> bool:
        """Whether this is the secret, compared in constant time."""
        return hmac.compare_digest(secret.encode(), self.secret.encode())


KEYS = {
    key.name: key
    for key in (
        UserKey("demo-user-key", "ZGVtby1zZWNyZXQ="),
        UserKey("partial-user-key", "cGFydGlhbC1zZWNyZXQ=", every=2),
        UserKey("counts-only-user-key", "Y291bnRzLW9ubHktc2VjcmV0", counts_only=True),
        UserKey("no-groups-user-key", "bm8tZ3JvdXBzLXNlY3JldA==", sees_groups=False),
        UserKey(
            "no-list-user-key",
            "bm8tbGlzdC1zZWNyZXQ=",
            methods=ALL_METHODS - {"admin.getUserSites"},
        ),
    )
}
