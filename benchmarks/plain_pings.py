"""The baseline of single pings over HTTP: a bare service of one purpose, on asyncio and psycopg.

It moves the end of the session that a ping names, durably, all that wait in one commit, and does
nothing else: no key, no login, no segments, no log, no limit. `python -m benchmarks.plain_pings
URL PORT`, until it is stopped.
"""

from __future__ import annotations

import asyncio
import json
import sys

import psycopg

ANSWER = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n"
    b'{"message":"Created"}\n'
)
MOVE = (
    "UPDATE session_activity_session AS s SET last_at = now(), "
    "ends_at = now() + v.promised * interval '1 second' "
    "FROM unnest(%s::varchar[], %s::int[]) AS v(id, promised) WHERE s.id = v.id"
)


class Plain(asyncio.Protocol):
    """A connection whose requests come whole, one after the other."""

    def __init__(self, waiting: list[tuple[Plain, str, int]], has_some: asyncio.Event) -> None:
        self.waiting, self.has_some = waiting, has_some

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        ping = json.loads(data.partition(b"\r\n\r\n")[2])
        self.waiting.append((self, ping["session_id"], ping["next_ping_sec"]))
        self.has_some.set()


async def serve(url: str, port: int) -> None:
    waiting: list[tuple[Plain, str, int]] = []
    has_some = asyncio.Event()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Plain(waiting, has_some), "127.0.0.1", port)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        while await has_some.wait():
            has_some.clear()
            taken, waiting[:] = waiting[:], []
            await connection.execute(MOVE, ([one[1] for one in taken], [one[2] for one in taken]))
            await connection.commit()
            for one in taken:
                one[0].transport.write(ANSWER)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
