"""Connections to Postgres that notice a server which says nothing any more.

The kernel of a machine goes on confirming what is sent to a program that hangs, so no setting of
TCP finds it, and a statement may well take minutes: while one does, the server is asked whether it
still answers anybody.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import Any

from psycopg import Connection, OperationalError, errors
from psycopg.types.array import ListBinaryDumper

# Who has waited this long for an answer asks, and again after twice as long, and so on; the server
# has this long to say that it is there.
ASK_AFTER_S, ASK_AT_LEAST_EACH_S = 2.0, 30.0
PING_S = 5
# How often the server looks, while it works on a statement, whether somebody waits for it.
GONE_AFTER_S = 5
# Who was silent is held to be silent for a moment: pages and lines need not find it out one by one.
REST_S = 2.0

_silent_until: dict[str, float] = {}


class WatchfulConnection(Connection[Any]):
    """A connection whose statements raise OperationalError when the server hangs, in seconds."""

    parameters: dict[str, Any]

    @classmethod
    def open(cls, **parameters: Any) -> WatchfulConnection:
        """Return a new connection; raises at once where the server was silent a moment ago."""
        if time.monotonic() < _silent_until.get(_server(parameters), 0):
            raise OperationalError("the server did not answer a moment ago")
        try:
            made = cls.connect(**parameters)
        except errors.ConnectionTimeout:
            _silent_until[_server(parameters)] = time.monotonic() + REST_S
            raise
        made.parameters = parameters
        # What a killed program left running would hold its locks to the end. Servers older than 14
        # and those on Windows cannot look.
        with contextlib.suppress(errors.UndefinedObject, errors.InvalidParameterValue):
            made.execute(f"SET client_connection_check_interval = '{GONE_AFTER_S}s'")
        made.commit()
        # In text, each element of a list is searched for what needs quotes.
        made.adapters.register_dumper(list, ListBinaryDumper)
        return made

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Return what a statement answers, however long it takes while the server is there."""
        patience_s = ASK_AFTER_S
        while True:
            try:
                return super().wait(gen, interval, patience_s)
            except errors._WaitTimeout:
                gen, patience_s = _goes_on(gen), min(2 * patience_s, ASK_AT_LEAST_EACH_S)
            if not self._is_there():
                break
        try:
            # Its answer may have come meanwhile: this machine may be the slow one.
            return super().wait(gen, interval, 0)
        except errors._WaitTimeout:
            # Nobody knows what became of the statement: the connection is of no use.
            self.pgconn.finish()
            _silent_until[_server(self.parameters)] = time.monotonic() + REST_S
            raise OperationalError("the server does not answer") from None

    def _is_there(self) -> bool:
        try:
            # PQping would do it, and hold all threads of the process meanwhile.
            Connection.connect(**self.parameters | {"connect_timeout": PING_S}).close()
        except errors.ConnectionTimeout:
            return False
        except OperationalError:
            # It says why not: it has no more connections, say.
            return True
        return True


def _server(parameters: dict[str, Any]) -> str:
    return f"{parameters.get('host')}:{parameters.get('port')}"


def _goes_on(statement: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Return a generator that takes up a statement where it was left; nothing was ready there."""
    ready = 0
    while True:
        try:
            state = statement.send(ready)
        except StopIteration as end:
            return end.value
        ready = yield state
