"""Which hosts may be talked to: the fixed table of data centres, and the address of a method.

The secret travels in the body, so a name that came from outside is only ever looked up here and
never pasted into a host name.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from webapp.errors import PartnerRefused

DOMAINS = {
    "us1": "us1.gigya.com",
    "eu1": "eu1.gigya.com",
    "au1": "au1.gigya.com",
    "eu2": "eu2.gigya.com",
    "cn1": "cn1.sapcdm.cn",
    "global": "global.gigya.com",
    "ru1": "ru1.gigya.com",
    "il1": "il1.gigya.com",
}
_BY_DOMAIN = {domain: name for name, domain in DOMAINS.items()}
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


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
