"""The client for what a run can do without: a Redis that hangs costs its patience once."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry
from rq import Worker
from rq.serializers import JSONSerializer

from tests.faults.faults_helpers import OwnRedis
from tests.soon import soon
from webapp.counters import Counters
from webapp.extensions import QuickRedis, quick_redis, redis_client, report_queue

Ask = Callable[[QuickRedis], object]


def one_command(client: QuickRedis) -> object:
    return client.get("something")


def many_together(client: QuickRedis) -> object:
    return client.pipeline().get("something").get("else").execute()


def a_script(client: QuickRedis) -> object:
    return client.register_script("return 1")()


ASKING = pytest.mark.parametrize("ask", [one_command, many_together, a_script])


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Return a server that lets everybody connect and answers nobody, as a frozen Redis does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def client(silent: socket.socket) -> Iterator[QuickRedis]:
    once = Retry(NoBackoff(), 1)
    with QuickRedis(port=silent.getsockname()[1], socket_timeout=0.05, retry=once) as found:
        yield found


def knocked(listener: socket.socket) -> int:
    """Return how many connections came since the last look."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@ASKING
@pytest.mark.parametrize("first", [one_command, many_together])
def test_after_a_silence_nobody_is_asked_for_a_moment(
    silent: socket.socket, client: QuickRedis, first: Ask, ask: Ask
) -> None:
    with pytest.raises((RedisConnectionError, RedisTimeout)):
        first(client)
    assert knocked(silent) > 0
    with pytest.raises(RedisConnectionError, match="away a moment ago"):
        ask(client)
    assert knocked(silent) == 0
    client.away_until = 0.0
    with pytest.raises((RedisConnectionError, RedisTimeout)):
        ask(client)
    assert knocked(silent) > 0


def test_who_has_asked_for_workers_is_as_quick_as_before(
    make_app: Callable[..., Flask], own_redis: OwnRedis
) -> None:
    with make_app(REDIS_URL=own_redis.url).app_context():
        queue, client = report_queue(), quick_redis()
        worker = Worker([queue], connection=redis_client(), serializer=JSONSerializer)
        worker.register_birth()
        assert len(Worker.all(queue=queue, serializer=JSONSerializer)) == 1
        client.connection_pool.disconnect()
        own_redis.freeze()
        with soon(), pytest.raises(RedisTimeout):
            client.ping()
        own_redis.thaw()


def test_counts_do_not_wait_for_a_redis_that_is_away(app: Flask) -> None:
    counters: Counters = app.extensions["counters"]
    quick: QuickRedis = app.extensions["quick_redis"]
    quick.away_until = math.inf
    counters.add("partner_errors", "timeout", by=3)
    counters.flush()
    assert counters.read(redis_client(app)) == {}
    quick.away_until = 0.0
    counters.flush()
    assert counters.read(redis_client(app)) == {("partner_errors", "timeout"): 3}
