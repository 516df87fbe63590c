"""What many threads want at once, done for all of them by one: group commit, and not only that.

Who finds nobody at work takes everything that waits and does it in one go; the others find theirs
done. The more come at once, the less each of them costs, and who comes alone waits for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class NotAnswered(Exception):
    """The work failed in the thread of another one, which knows why."""


class _Asked(Generic[Q, A]):
    """A question, and what became of it.

    turn: a lock that is held until it is over, or until its thread is to work on what waits (an
          Event does the same at several times the cost)
    following: the one that was answered together with it, whose thread its own one wakes: all at
          once would stand in each other's way
    """

    def __init__(self, question: Q) -> None:
        self.question = question
        self.turn = threading.Lock()
        self.turn.acquire()
        self.answer: list[A] = []
        self.is_over = False
        self.following: _Asked[Q, A] | None = None


class Coalescer(Generic[Q, A]):
    """Answers the questions of all threads of a process.

    work: returns the answers to some questions, in their order; called by one thread at a time,
          with questions asked before it was called
    most: a call takes no more questions when those it has are that large together
    size: of a question
    """

    def __init__(
        self,
        work: Callable[[list[Q]], Sequence[A]],
        *,
        most: int,
        size: Callable[[Q], int] = lambda _: 1,
    ) -> None:
        self._work, self._most, self._size = work, most, size
        self._waiting: list[_Asked[Q, A]] = []
        self._is_working = False
        self._lock = threading.Lock()

    def ask(self, question: Q) -> A:
        """Return the answer.

        Raises: what the work raises where this thread did it, NotAnswered where another one did
        """
        mine: _Asked[Q, A] = _Asked(question)
        with self._lock:
            self._waiting.append(mine)
            works, self._is_working = not self._is_working, True
        if not works:
            mine.turn.acquire()
            if mine.following:
                mine.following.turn.release()
        if works or not mine.is_over:
            try:
                while not mine.is_over:
                    self._answer_together(self._next_questions())
            finally:
                self._wake_next()
        if not mine.answer:
            raise NotAnswered
        return mine.answer[0]

    def _wake_next(self) -> None:
        """Let the next that waits work; what came meanwhile is done with its own."""
        with self._lock:
            self._is_working = bool(self._waiting)
            if self._waiting:
                self._waiting[0].turn.release()

    def _next_questions(self) -> list[_Asked[Q, A]]:
        """Take the oldest questions off the list, as many as one call takes."""
        with self._lock:
            count = size = 0
            while count < len(self._waiting) and (not count or size < self._most):
                size += self._size(self._waiting[count].question)
                count += 1
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _answer_together(self, asked: list[_Asked[Q, A]]) -> None:
        """Work on some questions; the first of them is of the thread that does so."""
        try:
            answers = self._work([one.question for one in asked])
            for one, answer in zip(asked, answers, strict=True):
                one.answer.append(answer)
        finally:
            for one, following in zip(asked, [*asked[1:], None], strict=True):
                one.is_over, one.following = True, following
            if asked[1:]:
                asked[1].turn.release()
