"""The user key and its secret: sent in bodies, shown nowhere; and which hosts they may be sent to.

The secret travels in the body, so a name of a data centre that came from outside is only ever
looked up in the fixed table here and never pasted into a host name.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from webapp.errors import PartnerRefused
from webapp.partner.values import one_line

_GIGYA = ("us1", "eu1", "au1", "eu2", "global", "ru1", "il1")
DOMAINS = {name: f"{name}.gigya.com" for name in _GIGYA} | {"cn1": "cn1.sapcdm.cn"}
_BY_DOMAIN = {domain: name for name, domain in DOMAINS.items()}
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


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
            "The user key or the user secret is empty or contains characters that cannot be sent; "
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


def known_data_center(name: object) -> str | None:
    """Return the name as the table spells it, None when it is not in the table."""
    if not isinstance(name, str):
        return None
    lowered = name.strip().lower()
    return lowered if lowered in DOMAINS else None


def data_center_of(domain: object) -> str | None:
    """Return whose domain this is (an `apiDomain` of an answer), None for a foreign one."""
    return _BY_DOMAIN.get(domain.strip().lower()) if isinstance(domain, str) else None


class Addresses:
    """URLs of methods: the real hosts, or a stand-in where a template says so."""

    def __init__(self, url_template: str = "") -> None:
        self._template = checked_template(url_template)
        self._made: dict[tuple[str, str], str] = {}

    def url(self, method: str, data_center: str) -> str:
        """Return where to send a method.

        Raises: PartnerRefused for a data centre that is not in the table; nothing is sent then
        """
        name = known_data_center(data_center)
        if name is None:
            raise PartnerRefused(
                "The partner names a data centre for this site that this program does not know, "
                "so nothing was asked: the secret goes to known hosts only."
                if data_center
                else "The partner names no data centre for this site, so it cannot be asked."
            )
        url = self._made.get((method, name))
        if url is None:
            namespace = method.partition(".")[0]
            base = self._template or f"https://{{namespace}}.{DOMAINS[name]}"
            base = base.replace("{namespace}", namespace).replace("{data_center}", name)
            url = self._made[method, name] = f"{base.rstrip('/')}/{method}"
        return url


def checked_template(template: str) -> str:
    """Return the template when a secret may be sent there: https, or plain http on loopback.

    Raises: PartnerRefused, with a sentence that names the setting
    """
    if not template:
        return ""
    filled = template.replace("{namespace}", "accounts").replace("{data_center}", "us1")
    try:
        parts = urlsplit(filled)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    fits = bool(host) and not any(c in filled for c in "{}?#@\\") and filled.isprintable()
    if not (fits and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))):
        raise PartnerRefused(
            "PARTNER_API_URL cannot be used: it must be https://…, or http:// to a loopback host, "
            "with no other placeholders than {namespace} and {data_center}.",
            stops_run=True,
        )
    return template
