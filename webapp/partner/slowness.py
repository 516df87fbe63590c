"""How much slower than granted: halved at each refusal, doubled after each quiet minute. Pure.

Refusals of calls that were under way when the pace was slowed tell nothing new, so there is at most
one halving in AGAIN_S. Moments are seconds of one clock, the caller's own.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOW_S = 60.0
AGAIN_S = 2.0
MOST_STEPS = 4
# Without a limit there is no rate to halve: a pause of so long after the first refusal.
PAUSE_S = 0.5


@dataclass
class Slowness:
    """Steps below the full pace; each halves the rate.

    slow_s:  how long it takes without a refusal to come back by one step
    again_s: how long after a step there is no other
    ends:    moment at which `steps` become one fewer
    stepped: moment of the last step
    """

    slow_s: float = SLOW_S
    again_s: float = AGAIN_S
    steps: int = 0
    ends: float = 0.0
    stepped: float = float("-inf")

    def at(self, moment: float) -> int:
        """Return how many steps below the full pace a moment is, without further refusals."""
        if moment < self.ends:
            return self.steps
        return max(0, self.steps - 1 - int((moment - self.ends) / self.slow_s))

    def factor(self, moment: float) -> float:
        """Return by how much the interval between two calls is longer at a moment."""
        return float(2 ** self.at(moment))

    def refused(self, now: float, hold_s: float) -> None:
        """Take a refusal; the quiet time begins after `hold_s` and never ends earlier than told."""
        steps = self.at(now)
        if not steps or now - self.stepped >= self.again_s:
            steps, self.stepped = min(steps + 1, MOST_STEPS), now
        self.steps, self.ends = steps, max(self.ends, now + hold_s + self.slow_s)
