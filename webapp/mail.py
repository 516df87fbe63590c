"""Mail, sent through the server SMTP_URL names; nothing is sent where it is not set.

Passwords and links in a mail are protected on their way by TLS: plain SMTP is spoken with a server
on this machine, or where `tls=none` says so.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

from flask import current_app

from webapp.errors import Unavailable

log = logging.getLogger(__name__)

TIMEOUT_S = 10
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
PORTS = {"smtp": 587, "smtps": 465}
AWAY = "The mail could not be sent. Try again in a few minutes; the operator finds why in the log."


@dataclass(frozen=True)
class Server:
    """A mail server as SMTP_URL names it. tls: `starttls`, `smtps` from the first byte, `none`."""

    host: str
    port: int
    user: str
    password: str
    tls: str


def parse_smtp_url(url: str) -> Server:
    """Return the server a URL names; raises ValueError, without the URL: it has a password."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("must be smtp://user:password@host:587?tls=starttls, smtps://…")
    plain = "none" if parts.hostname in LOOPBACK else "starttls"
    tls = "smtps" if parts.scheme == "smtps" else options.get("tls", [plain])[0]
    if tls not in {"smtps", "starttls", "none"}:
        raise ValueError("takes tls=starttls or tls=none")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Server(parts.hostname, parts.port or PORTS[parts.scheme], user, password, tls)


def is_set_up() -> bool:
    """Return whether mail can be sent at all."""
    return bool(current_app.config["SMTP_URL"])


class MailRefused(Unavailable):
    """The server is away or refuses a mail: `reason` says which, without the server's words.

    is_final: another try would fare no better (RFC 5321, 4.2.1: a code of 500 or more)
    """

    def __init__(self, code: int | None, error: Exception) -> None:
        super().__init__(AWAY, retry_after_s=60)
        self.is_final = code is not None and code >= 500
        self.reason = f"SMTP {code}" if code else type(error).__name__


def send(to: Iterable[str], subject: str, text: str) -> None:
    """Hand one mail of text over to the server; it has taken it when this returns.

    Raises: MailRefused
    """
    message = EmailMessage()
    message["From"] = sender()
    message["To"] = ", ".join(to)
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=message["From"].addresses[0].domain)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    send_message(message)


def sender() -> str:
    """Return whom mails are from."""
    config = current_app.config
    return str(
        config["MAIL_FROM"] or f"partner-use-report@{parse_smtp_url(config['SMTP_URL']).host}"
    )


def send_message(message: EmailMessage) -> None:
    """Hand a mail over to the server, to the readers its headers name. Raises: MailRefused"""
    server = parse_smtp_url(current_app.config["SMTP_URL"])
    try:
        with _connect(server) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            smtp.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        # The words may quote addresses or the sign-in.
        log.error("a mail could not be sent: %s", type(error).__name__)
        code = getattr(error, "smtp_code", None)
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            code = next(iter(error.recipients.values()))[0]
        raise MailRefused(code, error) from None


def _connect(server: Server) -> smtplib.SMTP:
    if server.tls == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
    smtp = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    if server.tls == "starttls":
        try:
            smtp.starttls(context=ssl.create_default_context())
        except (OSError, smtplib.SMTPException):
            smtp.close()
            raise
    return smtp
