"""What the stand-in takes in beside calls: mails by SMTP and webhooks, with pages to look at them.

For the demo: what a report sends out is seen, and nothing leaves the machine.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import escape
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP

KEPT = 50
MOST_BYTES = 25 * 1024 * 1024
# A mail is somebody else's HTML: no script, nothing from elsewhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"


@dataclass
class Inbox:
    """The last mails and webhooks, newest first."""

    mails: deque[EmailMessage] = field(default_factory=lambda: deque(maxlen=KEPT))
    hooks: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def smtp(self) -> SMTP:
        """Return the protocol of one connection to the mail server."""
        return SMTP(self, hostname="localhost", data_size_limit=MOST_BYTES)

    async def handle_DATA(  # noqa: N802 - the name aiosmtpd calls
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        """Keep a mail."""
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.appendleft(mail)
        return "250 OK"

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a request to `/mail`, `/mail/<number>` or `/hooks`."""
        if request.method == "POST" and request.path == "/hooks":
            body = (await request.read())[: MOST_BYTES // 100]
            at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            names = ("webhook-id", "webhook-timestamp", "webhook-signature")
            headers = {name: request.headers.get(name, "") for name in names}
            self.hooks.appendleft(
                {"at": at, "headers": headers, "body": body.decode(errors="replace")}
            )
            return web.Response(status=204)
        if request.path == "/hooks":
            return _page("Webhooks", "".join(map(_hook, self.hooks)))
        number = request.path.removeprefix("/mail").strip("/")
        if not number:
            return _page("Mails", "".join(_line(*one) for one in enumerate(self.mails)))
        if number.isdigit() and len(number) < 4 and int(number) < len(self.mails):
            return _mail(self.mails[int(number)])
        return web.Response(status=404, text="There is no such mail.")


def _line(number: int, mail: EmailMessage) -> str:
    files = ", ".join(str(part.get_filename()) for part in mail.iter_attachments())
    about = f"to {mail['To']}{f', with {files}' if files else ''}"
    return f'<p><a href="/mail/{number}">{escape(str(mail["Subject"]))}</a><br>{escape(about)}</p>'


def _hook(hook: dict[str, Any]) -> str:
    try:
        body = json.dumps(json.loads(hook["body"]), indent=2, ensure_ascii=False)
    except ValueError:
        body = hook["body"]
    headers = "\n".join(f"{name}: {value}" for name, value in hook["headers"].items())
    return f"<h2>{hook['at']}</h2><pre>{escape(headers)}\n\n{escape(body)}</pre>"


def _mail(mail: EmailMessage) -> web.Response:
    """Return a mail's HTML with its pictures inside, or its text where it has none."""
    html = mail.get_body(("html",))
    if html is None:
        text = mail.get_body(("plain",))
        content = text.get_content() if text is not None else ""
        return _page(str(mail["Subject"]), f"<pre>{escape(content)}</pre>")
    content = html.get_content()
    for part in mail.walk():
        if part.get_content_maintype() == "image" and part["Content-ID"]:
            data = b64encode(part.get_payload(decode=True) or b"").decode()  # type: ignore[arg-type]
            address = f"data:{part.get_content_type()};base64,{data}"
            content = content.replace(f"cid:{part['Content-ID'].strip('<>')}", address)
    return _answer(content)


def _page(title: str, content: str) -> web.Response:
    shown = content or "<p>Nothing has come yet.</p>"
    return _answer(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{shown}"
    )


def _answer(html: str) -> web.Response:
    policies = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=html, content_type="text/html", headers=policies)
