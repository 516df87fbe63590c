"""Sentences for the reader about slowing down and trying again, few enough to be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from webapp.partner.pace import Pace

QUIET_S = 5.0


class Notices:
    """Tells a reader what is going on; the same matter at most once in some seconds."""

    def __init__(self, notice: Callable[[str], None], quiet_s: float = QUIET_S) -> None:
        self._notice = notice
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._slow: dict[int, Pace] = {}

    def again(self, sentence: str, wait_s: float, next_try: int, tries: int) -> None:
        self._tell(
            f"again:{sentence}",
            f"{sentence} Trying again in {wait_s:.0f} s (try {next_try} of {tries}).",
        )

    def slowed(self, pace: Pace) -> None:
        """Say that the partner asked for fewer calls, and remember to say when that is over."""
        self._slow[id(pace)] = pace
        rate = pace.rate
        shown = f" ({rate:.3g} a second)" if rate else ""
        self._tell("slow", f"The partner asks for fewer calls: slowing down for a while{shown}.")

    def answered(self, pace: Pace) -> None:
        """Say that the pace is as before, once, after it was slowed."""
        if id(pace) not in self._slow or pace.slowed:
            return
        with self._lock:
            slowed = self._slow.pop(id(pace), None)
        if slowed is not None:
            self._notice("Back to the full pace.")

    def _tell(self, matter: str, sentence: str) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._told.get(matter, -self._quiet_s) < self._quiet_s:
                return
            self._told[matter] = now
        self._notice(sentence)
