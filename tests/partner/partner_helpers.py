"""A session with quick limits, what it said and counted, and a secret to be found nowhere."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from bad_server import BadServer

from webapp.partner.credentials import Credentials
from webapp.partner.limits import Limits
from webapp.partner.pace import LocalRateLimiter
from webapp.partner.session import PartnerQuestion, PartnerSession

USER_KEY = "AUserKey+of/canary="
SECRET = "cAnary/Secret+0123&=<é>"
# Tries follow each other at once. A single request has long: a machine that stands still for a
# second must not turn one try into two. Tests of a deadline shorten it themselves.
QUICK = Limits(
    connect_s=20.0,
    server_timeout_s=0.2,
    margin_s=60.0,
    total_s=240.0,
    poll_s=0.05,
    tries=6,
    backoff_base_s=0.002,
    backoff_cap_s=0.004,
    retry_after_cap_s=0.3,
    throttled_tries=6,
)


def body_of(
    session: PartnerSession, method: str, data_center: str, params: dict[str, str]
) -> dict[str, Any]:
    """Return what a method answers, as it is."""
    return session.ask(PartnerQuestion(method, data_center, params, lambda answer: answer.body))


class Talk:
    """Makes sessions against a server, and keeps what they say and count."""

    def __init__(self, server: BadServer, stack: ExitStack) -> None:
        self.server = server
        self.notices: list[str] = []
        self.sent = 0
        self._stack = stack

    def session(self, *, limits: dict[str, Any] | None = None, **more: Any) -> PartnerSession:
        options: dict[str, Any] = {
            "search_pace": LocalRateLimiter(0),
            "call_pace": LocalRateLimiter(0),
            "url_template": self.server.template,
            "notice": self.notices.append,
            "counted": self._count,
            "limits": replace(QUICK, **(limits or {})),
            **more,
        }
        return self._stack.enter_context(PartnerSession(Credentials(USER_KEY, SECRET), **options))

    def _count(self) -> None:
        self.sent += 1
