"""Every bound of a conversation with the partner in one place, the waits between two tries, and the
circuit breaker: what a data centre or site that does not answer may cost.

Source: partner guide, "Errors and limits": connect 10 s, whole request = server timeout + 15 s,
size caps after decompression, exponential backoff with full jitter.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from webapp.errors import PartnerUnavailable

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of one call and of one session.

    Units: `_s` seconds, `_bytes` bytes after decompression; `tries` counts the first one too
    throttled_tries: refusals of one call for coming too fast; none of them counts as a try
    silence_s:       after so long without one answer a data centre is taken for away
    """

    connect_s: float = 10.0
    server_timeout_s: float = 20.0
    margin_s: float = 15.0
    total_s: float = 180.0
    poll_s: float = 0.5
    tries: int = 6
    few_tries: int = 3
    throttled_tries: int = 100
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    retry_after_cap_s: float = 120.0
    silence_s: float = 120.0
    probe_s: float = 10.0
    site_list_bytes: int = 16 * MIB
    config_bytes: int = 4 * MIB
    search_bytes: int = 1 * MIB

    def answer_bytes(self, method: str) -> int:
        """Return how large an answer of this method may be."""
        if method == "admin.getUserSites":
            return self.site_list_bytes
        return self.config_bytes if method.startswith("admin.") else self.search_bytes

    def backoff_s(self, tries: int) -> float:
        """Return a random wait (seconds) after so many tries: full jitter, a doubling ceiling."""
        ceiling = min(self.backoff_cap_s, self.backoff_base_s * 2 ** min(tries - 1, 30))
        return random.uniform(0, ceiling)  # noqa: S311 - spreads callers, guards nothing


def http_date(header: str | None) -> datetime | None:
    """Return the aware moment an HTTP header names, None where it names none."""
    try:
        moment = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def retry_after_s(header: str | None, cap_s: float) -> float | None:
    """Return the wait a Retry-After header asks for (seconds or an HTTP date), None without one."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        wait_s = float(text)
    elif moment := http_date(text):
        wait_s = (moment - datetime.now(UTC)).total_seconds()
    else:
        return None
    return min(max(wait_s, 0.0), cap_s)


@dataclass
class _DataCenter:
    """answered: once at all; silent_since: no answer since (monotonic), None where there is one."""

    answered: bool = False
    silent_since: float | None = None
    next_probe: float = 0.0


class CircuitBreaker:
    """Knows who has answered. Thread-safe.

    Each call may take minutes of trying; a data centre that is away would make a thousand sites
    take days. After `silence_s` without one answer its calls are refused here, but for a probe now
    and then, and whatever answers opens the way again.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._data_centers: dict[str, _DataCenter] = {}
        self._in_vain_s: dict[str, float] = {}

    def note(self, data_center: str, site: str, *, answered: bool, started: float) -> None:
        """Note a try that began at a moment; a refusal that tells something is an answer."""
        with self._lock:
            one = self._data_centers.setdefault(data_center, _DataCenter())
            if answered:
                one.answered, one.silent_since = True, None
                self._in_vain_s.pop(site, None)
                return
            if one.silent_since is None:
                one.silent_since = started
            took_s = time.monotonic() - started
            self._in_vain_s[site] = self._in_vain_s.get(site, 0.0) + took_s

    def in_vain_s(self, site: str) -> float:
        """Return how long a site was asked since its last answer; it counts for all its calls."""
        return self._in_vain_s.get(site, 0.0)

    def is_suspect(self, data_center: str) -> bool:
        """Return whether a data centre has not answered yet, or not since its last failure."""
        one = self._data_centers.get(data_center)
        return one is None or not one.answered or one.silent_since is not None

    def is_silent(self, data_center: str) -> bool:
        """Return whether a data centre has answered nothing for so long that it is given up."""
        one = self._data_centers.get(data_center)
        if one is None or one.silent_since is None:
            return False
        return time.monotonic() - one.silent_since > self._limits.silence_s

    def admit(self, data_center: str) -> None:
        """Let a call through, or raise PartnerUnavailable when it would only wait in vain."""
        if not self.is_silent(data_center):
            return
        with self._lock:
            now, one = time.monotonic(), self._data_centers[data_center]
            if now >= one.next_probe:
                one.next_probe = now + self._limits.probe_s
                return
        raise PartnerUnavailable(
            f"The partner's data centre {data_center} has answered nothing for "
            f"{self._limits.silence_s:.0f} s, so this was not requested: try again later."
        )
