"""What workers do: the tasks this application was made with, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import current_app
from sqlalchemy import Connection

from webapp.errors import ReportError

if TYPE_CHECKING:
    from webapp.jobs.attempt import Attempt


@dataclass(frozen=True)
class Ending:
    """How a job ends: its status, and the sentence that says why where something went wrong."""

    status: str
    error: str | None = None


@dataclass(frozen=True)
class Task:
    """What is done for the jobs of one name.

    run:       does the work, with the attempt and the job's payload; what it raises fails the job
    noun:      what people call such a job, in sentences: "report"
    timeout_s: how long an attempt may take; None for REPORT_TIMEOUT_SECONDS
    attempts:  how often a job is begun whose worker was lost; None for MAX_ATTEMPTS
    at_front:  handed to workers before what waits, for work that takes moments
    kept_s:    how long ended jobs are kept; 0 deletes a done one at once, None: REPORTS_KEPT_DAYS
    in_turn:   whether its jobs wait for their company's turn, or go to the workers at once
    on_end:    told in the transaction that ends a job, however it ends; returns what it ends as
    attempt:   the class of its attempts, `Attempt` or a subclass; None for `Attempt`
    """

    name: str
    run: Callable[[Any, dict[str, Any]], None]
    noun: str = "job"
    timeout_s: float | None = None
    attempts: int | None = None
    at_front: bool = False
    kept_s: float | None = None
    in_turn: bool = False
    on_end: Callable[[Connection, str, Ending], Ending] = lambda _connection, _id, ending: ending
    attempt: type[Attempt] | None = None

    @property
    def seconds(self) -> float:
        """Return how long an attempt may take."""
        return float(self.timeout_s or current_app.config["REPORT_TIMEOUT_SECONDS"])

    @property
    def most_attempts(self) -> int:
        """Return how often a job is begun whose worker was lost."""
        return int(self.attempts or current_app.config["MAX_ATTEMPTS"])


def task_named(name: str) -> Task:
    """Return a task; one that was taken out of the program fails its jobs with a sentence."""
    found: Task | None = current_app.extensions["tasks"].get(name)
    return found or Task(name, _unknown)


def _unknown(attempt: Attempt, _payload: dict[str, Any]) -> None:
    raise ReportError(
        f"This installation has no {attempt.task.name!r} any more, so it cannot be made.",
    )
