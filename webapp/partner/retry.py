"""When to try again: backoff, Retry-After, and how long a run puts up with silence."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from webapp.errors import PartnerUnavailable
from webapp.partner.limits import Limits


def backoff_s(tries: int, limits: Limits) -> float:
    """Return a random wait (seconds) after so many tries: full jitter under a doubling ceiling."""
    ceiling = min(limits.backoff_cap_s, limits.backoff_base_s * 2 ** min(tries - 1, 30))
    return random.uniform(0, ceiling)  # noqa: S311 - spreads callers, guards nothing


def retry_after_s(header: str | None, cap_s: float) -> float | None:
    """Return the wait a Retry-After header asks for (seconds or an HTTP date), None without one."""
    text = (header or "").strip()
    if not text:
        return None
    try:
        if text.isascii() and text.isdigit():
            wait_s = float(text)
        else:
            moment = parsedate_to_datetime(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            wait_s = (moment - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(wait_s, 0.0), cap_s)


class Patience:
    """Ends a run's waiting when nothing at all has been answered for long.

    Each call may take minutes of trying; a partner that is away would make a thousand sites take
    days. After `patience_s` without one answer calls are refused here, but for a probe now and
    then, and whatever answers opens the way again.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._silent_since: float | None = None
        self._next_probe = 0.0

    def answered(self) -> None:
        self._silent_since = None

    def failed(self, started: float) -> None:
        """Note a try that began at `started` (monotonic seconds) and had no answer."""
        with self._lock:
            if self._silent_since is None:
                self._silent_since = started

    @property
    def over(self) -> bool:
        since = self._silent_since
        return since is not None and time.monotonic() - since > self._limits.patience_s

    def admit(self) -> None:
        """Let a call through, or raise PartnerUnavailable when it would only wait in vain."""
        if not self.over:
            return
        with self._lock:
            now = time.monotonic()
            if now >= self._next_probe:
                self._next_probe = now + self._limits.probe_s
                return
        raise PartnerUnavailable(
            f"The partner's API has answered nothing for {self._limits.patience_s:.0f} s, so this "
            "was not asked any more: try again later."
        )
