"""The user key and its secret: sent in bodies, shown nowhere."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, urlencode

from webapp.errors import PartnerRefused
from webapp.partner.values import one_line


@dataclass(frozen=True)
class Credentials:
    """A user key (or application key) and the secret that belongs to it."""

    user_key: str = field(repr=False)
    secret: str = field(repr=False)

    def __repr__(self) -> str:
        return "Credentials(…)"

    def form(self) -> str:
        """Return the part of every body that signs a call in, already encoded.

        Raises: PartnerRefused when one is empty or is no text that can be sent; an empty one
                would make it an unauthenticated call with far lower limits
        """
        if self.user_key.strip() and self.secret.strip():
            try:
                return urlencode(
                    {
                        "userKey": self.user_key,
                        "secret": self.secret,
                        "format": "json",
                        "httpStatusCodes": "false",
                    }
                )
            except UnicodeEncodeError:  # its text holds the secret: left behind, not chained
                pass
        raise PartnerRefused(
            "The user key or the user secret is empty or holds characters that cannot be sent; "
            "type them again.",
            stops_run=True,
        )


class Scrubber:
    """Takes the user key and the secret out of what the partner says, in each way it may echo."""

    def __init__(self, credentials: Credentials) -> None:
        forms: set[str] = set()
        for value in (credentials.secret, credentials.user_key):
            safe = value.encode("utf-8", "replace").decode("utf-8")
            forms |= {
                value,
                safe,
                value.strip(),
                quote(safe),
                quote(safe, safe=""),
                html.escape(safe),
            }
            forms |= {quote_plus(safe), html.unescape(value), one_line(value, 10_000)}
        forms.discard("")
        self._forms = sorted(forms, key=len, reverse=True)

    def __repr__(self) -> str:
        return "Scrubber(…)"

    def scrub(self, text: object, cap: int = 300) -> str:
        """Return foreign text as one readable line without a trace of the credentials.

        The caps come last: cutting first could leave half a secret that is no longer recognised.
        """
        if not isinstance(text, str):
            return ""
        line = self._without(text[:20_000])
        for _ in range(2):
            line = self._without(html.unescape(line))
        line = self._without(one_line(line, 20_000))
        squeezed = "".join(line.split())
        if any("".join(form.split()) in squeezed for form in self._forms):
            return "[removed]"  # echoed with something in between
        return one_line(line, cap)

    def _without(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, "[removed]")
        return text
