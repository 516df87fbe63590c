"""Every bound of a conversation with the partner in one place, and the waits between two tries.

Source: partner guide, "Errors and limits": connect 10 s, whole request = server timeout + 15 s,
size caps after decompression, exponential backoff with full jitter.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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
