"""Data centres and sites that do not answer: what that may cost, and when it is enough."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from webapp.errors import PartnerUnavailable
from webapp.partner.limits import Limits


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
            f"{self._limits.silence_s:.0f} s, so this was not asked any more: try again later."
        )
