"""What protects every answer and every kept secret: headers, the CSRF check, sealing.

Stands below all rooms. Keys for sealing are derived from SECRET_KEY with a label per purpose, so a
leak of one use says nothing about another; SECRET_KEY_PREVIOUS still reads what it once sealed, and
`reseal` brings that under the newest key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask, Response, current_app, request

from webapp.errors import InvalidParams, NotAllowed, ReportError, Unreadable, UnsupportedType
from webapp.extensions import csrf

# What another site can make a browser send without asking first.
FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
API_PREFIX = "/api/"
DASHBOARD_PREFIX = "/ops/rq"
HEALTH = {"/healthz", "/readyz"}
# In the `info` of a column that holds what `seal` returned: how people call such a row.
SEALED = "sealed"


_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Its templates are compiled in the browser and its handlers are inline.
_DASHBOARD_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'") + (
    "; script-src 'self' 'unsafe-inline' 'unsafe-eval'"
)
# No view says one of these itself.
_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    # The referrer check of the CSRF library needs it on https; other sites get nothing.
    ("Referrer-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
)


class SealBroken(ReportError):
    """500: a sealed text that neither the present nor the previous SECRET_KEY opens."""

    title = "Stored credentials cannot be read"

    def __init__(self) -> None:
        super().__init__(
            "The stored credentials cannot be read with this installation's SECRET_KEY. "
            "Enter them again."
        )


def init_app(app: Flask) -> None:
    """Put the CSRF check before every page and the headers on every answer."""
    # Forms stay good as long as the session they were made for.
    app.config.setdefault("WTF_CSRF_TIME_LIMIT", None)
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    app.before_request(check_host)
    app.before_request(check_basic)
    app.before_request(check_csrf)
    app.after_request(add_headers)


def is_api() -> bool:
    """Return whether this request is for a program's address."""
    return request.path.startswith(API_PREFIX)


def refuse_nul() -> None:
    """Refuse a NUL in a program's query: no database compares it. Pages treat it as nonsense."""
    if not is_api():
        return
    if b"%00" in request.query_string or b"\x00" in request.query_string:
        names = [name for name, value in request.args.items(multi=True) if "\x00" in name + value]
        sentence = "The text contains characters that cannot be used."
        raise InvalidParams({name.replace("\x00", ""): sentence for name in names})


def check_host() -> None:
    """Refuse a host that is not this site's: links in answers and mails begin with it.

    Load balancers ask for health by whatever address they know.
    """
    if request.path in HEALTH:
        return
    if not is_ours(request.host, current_app.config["ALLOWED_HOSTS"]):
        raise Unreadable("This site has another name. The operator lists its names: ALLOWED_HOSTS.")


@lru_cache(maxsize=256)
def is_ours(address: str, listed: str) -> bool:
    """Return whether an address, host with port, is of the hosts in a text with commas."""
    try:
        host = urlsplit(f"//{address}").hostname or ""
    except ValueError:
        return False
    names = allowed_hosts(listed)
    below = any(name.startswith(".") and f".{host}".endswith(name) for name in names)
    return host in names or below


@lru_cache(maxsize=8)
def allowed_hosts(listed: str) -> frozenset[str]:
    """Return the names of hosts in a text with commas; loopback and this machine's where empty.

    A name that begins with a dot stands for all below it, too.
    """
    names = [name.strip().lower() for name in listed.split(",") if name.strip()]
    own = ("localhost", "127.0.0.1", "::1", socket.gethostname().lower(), socket.getfqdn().lower())
    return frozenset(names or own)


def check_basic() -> None:
    """Refuse what another site could make a browser send with Basic credentials it remembers.

    A form is sent as one of three types, and where a script may send another, the browser tells
    whose it is. Forms are for the token routes, whose credentials stand in the form.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"} or not is_api():
        return
    is_basic = request.headers.get("Authorization", "")[:6].lower() in {"basic", "basic "}
    if not is_basic or request.blueprint == "tokens":
        return
    origin = request.headers.get("Origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.host
    if foreign or request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
        raise NotAllowed("This request comes from another site. Send a bearer token instead.")
    if request.mimetype in FORM_TYPES:
        raise UnsupportedType(
            "With Basic, send JSON (Content-Type: application/json); a bearer token may send forms."
        )


def check_csrf() -> None:
    """Check forms and HTMX requests; under /api/ a cookie never allows a change, so none is due."""
    if current_app.config["WTF_CSRF_ENABLED"] and not is_api():
        csrf.protect(apply_exemptions=True)


def add_headers(response: Response) -> Response:
    """Add what browsers need to be told; a view's own word on caching stands."""
    headers = response.headers
    # Only the RQ dashboard's policy is looser.
    path = request.path
    inside = f"{path}/".startswith(f"{DASHBOARD_PREFIX}/")
    headers.add("Content-Security-Policy", _DASHBOARD_POLICY if inside else _POLICY)
    headers.extend(_ALWAYS)
    if current_app.config.get("COOKIE_SECURE"):
        headers["Strict-Transport-Security"] = "max-age=31536000"
    if "Cache-Control" not in headers and request.endpoint != "static":
        is_program = path.startswith(API_PREFIX)
        headers["Cache-Control"] = "private, no-cache" if is_program else "no-store"
    return response


def seal(text: str) -> str:
    """Return the text encrypted, as an ASCII token only `unseal` opens."""
    return _boxes()[0].encrypt(text.encode("utf-8")).decode("ascii")


def unseal(token: str) -> str:
    """Return the text behind a token of `seal`.

    Raises: SealBroken when it was altered or sealed under a key that is gone
    """
    try:
        return MultiFernet(_boxes()).decrypt(token.encode("ascii")).decode("utf-8")
    except (InvalidToken, UnicodeEncodeError):
        # Not chained: the cause holds nothing a reader could use.
        raise SealBroken from None


def reseal(token: str) -> str:
    """Return a token of the same text under the newest key; the same one if it is already.

    Raises: SealBroken
    """
    text = unseal(token)
    try:
        _boxes()[0].decrypt(token)
    except InvalidToken:
        return seal(text)
    return token


def fingerprint(text: str) -> str:
    """Return 64 hex digits that tell equal texts apart from others and give nothing away."""
    key = derived_key(current_app.config["SECRET_KEY"], "fingerprint")
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def secret_keys() -> tuple[str, ...]:
    """Return the present key and, while keys are rotated, the one before."""
    present = current_app.config["SECRET_KEY"]
    previous = current_app.config.get("SECRET_KEY_PREVIOUS") or ""
    return (present, previous) if previous else (present,)


@lru_cache(maxsize=32)
def derived_key(secret_key: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose, derived from the installation's key (HKDF-SHA256)."""
    info = f"partner use report: {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret_key.encode())


def signing_keys(purpose: str) -> list[bytes]:
    """Return the keys of one purpose as itsdangerous takes them: it signs with the last one."""
    return [derived_key(key, purpose) for key in reversed(secret_keys())]


def _boxes() -> list[Fernet]:
    keys = (derived_key(key, "seal") for key in secret_keys())
    return [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
