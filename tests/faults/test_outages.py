"""Redis, the database and the web server taken away in the middle of a report and of a stream."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox import truth
from sandbox.testing import RunningStandIn
from tests.faults.faults_helpers import (
    OwnRedis,
    Relay,
    RunningStack,
    Stream,
    answers_http,
    running_stack,
    until,
)

pytestmark = pytest.mark.faults

AWAY_S = 20.0
SPAN = {"partner_id": "70000002", "mode": "monthly", "start": "2024-01", "end": "2024-06"}
Params = Callable[..., dict[str, Any]]


def searching(stand_in: RunningStandIn, more_than: int) -> Callable[[], bool]:
    return lambda: len(stand_in.searches()) > more_than


def is_right(found: RunningStack, report_id: str) -> None:
    """Check the figures against the stand-in's own, and that the report ended once."""
    report = found.report(report_id)
    assert report["status"] == "done", report
    result = found.get(f"/api/v1/reports/{report_id}/result?format=json").json()
    right = truth.report(70000002, ("2024-01", "2024-06"))["months"]
    assert [row["total_users"] for row in result["months"]] == [row["total_users"] for row in right]


def test_redis_frozen_then_stopped_then_emptied_in_the_middle(
    tmp_path: Path, own_redis: OwnRedis, stand_in: RunningStandIn, partner_use: Params
) -> None:
    stand_in.settings(latency_ms=150)
    with running_stack(
        tmp_path / "stack", own_redis.url, stand_in.url_template, PARTNER_CONCURRENCY="2"
    ) as found:
        first = found.ask(**partner_use(**SPAN))
        stream = Stream(found, first)
        until(searching(stand_in, 20), 60, lambda: found.printed)

        # Frozen: connections stay, nothing is answered.
        own_redis.freeze()
        heard = len(stream.numbers)
        # The report goes on without it, and its lines come by the database.
        until(lambda: len(stream.numbers) > heard + 2, 60, lambda: found.printed)
        status, checks = found.ready()
        assert (status, checks["checks"]["redis"]["ok"]) == (503, False)
        assert found.report(first)["status"] in {"running", "done"}
        time.sleep(2)
        own_redis.thaw()
        stand_in.settings(latency_ms=5)
        until(lambda: found.ready()[0] == 200, 60, lambda: found.printed)

        # Stopped: connections break; a report is asked for meanwhile and made afterwards.
        assert stream.ended(60) == {"status": "done"}
        stand_in.settings(latency_ms=100)
        second = found.ask(**partner_use(**SPAN, refresh=True))
        second_stream = Stream(found, second)
        until(lambda: len(second_stream.numbers) > 2, 60, lambda: found.printed)
        own_redis.stop()
        third = found.ask(**partner_use())
        time.sleep(AWAY_S)
        own_redis.start()
        until(lambda: found.ready()[0] == 200, 60, lambda: found.printed)
        stand_in.settings(latency_ms=5)
        assert second_stream.ended(90) == {"status": "done"}
        assert "The worker was lost" not in " ".join(second_stream.texts)
        assert Stream(found, third).ended(60) == {"status": "done"}
        is_right(found, first)
        is_right(found, second)

        # Emptied: queue, worker registry and limits are gone.
        stand_in.settings(latency_ms=100)
        running = found.ask(**partner_use(**SPAN, refresh=True))
        waiting = found.ask(**partner_use(**SPAN | {"end": "2024-05"}, refresh=True))
        streams = [Stream(found, one) for one in (running, waiting)]
        until(lambda: len(streams[0].numbers) > 2, 60, lambda: found.printed)
        own_redis.ask("FLUSHALL")
        stand_in.settings(latency_ms=5)
        assert [one.ended(90) for one in streams] == [{"status": "done"}] * 2
        is_right(found, running)
        until(lambda: found.ready()[0] == 200, 60, lambda: found.printed)


def test_sqlite_locked_in_the_middle(
    tmp_path: Path, own_redis: OwnRedis, stand_in: RunningStandIn, partner_use: Params
) -> None:
    stand_in.settings(latency_ms=60)
    with running_stack(
        tmp_path / "stack", own_redis.url, stand_in.url_template, PARTNER_CONCURRENCY="2"
    ) as found:
        report_id = found.ask(**partner_use(**SPAN))
        stream = Stream(found, report_id)
        until(lambda: len(stream.numbers) > 2, 60, lambda: found.printed)
        with sqlite3.connect(tmp_path / "stack" / "app.sqlite3", isolation_level=None) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            time.sleep(12)
            lock.execute("ROLLBACK")
        lock.close()
        stand_in.settings(latency_ms=0)
        assert stream.ended(60) == {"status": "done"}
        is_right(found, report_id)


def test_postgres_away_in_the_middle(
    tmp_path: Path, own_redis: OwnRedis, stand_in: RunningStandIn, partner_use: Params
) -> None:
    try:
        admin = psycopg.connect("postgresql://root@127.0.0.1:5432/test", autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no Postgres on 127.0.0.1:5432 ({type(error).__name__})")
    name = f"pur_faults_{os.getpid()}"
    relay = Relay("127.0.0.1", 5432)
    url = f"postgresql://root@127.0.0.1:{relay.port}/{name}"
    stand_in.settings(latency_ms=60)
    try:
        admin.execute(f"CREATE DATABASE {name}")
        with running_stack(
            tmp_path / "stack",
            own_redis.url,
            stand_in.url_template,
            DATABASE_URL=url,
            PARTNER_CONCURRENCY="2",
        ) as found:
            report_id = found.ask(**partner_use(**SPAN))
            stream = Stream(found, report_id)
            until(lambda: len(stream.numbers) > 2, 60, lambda: found.printed)
            # It says nothing any more, which no error of the network tells.
            relay.hang()
            for path in (f"/api/v1/reports/{report_id}", "/readyz", "/api/v1/reports"):
                began = time.monotonic()
                assert found.get(path).status_code == 503
                assert time.monotonic() - began < 20
            relay.cut()
            time.sleep(1)
            answer = found.get(f"/api/v1/reports/{report_id}")
            assert answer.status_code == 503, answer.text
            time.sleep(AWAY_S - 1)
            relay.mend()
            stand_in.settings(latency_ms=0)
            assert stream.ended(90) == {"status": "done"}
            assert "The worker was lost" not in " ".join(stream.texts)
            is_right(found, report_id)
            with psycopg.connect(url) as reader:
                sealed = reader.execute("SELECT count(*) FROM job WHERE sealed IS NOT NULL")
                assert sealed.fetchone() == (0,)
    finally:
        relay.close()
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.close()


def test_a_web_server_started_again_in_the_middle_loses_no_line(
    tmp_path: Path, own_redis: OwnRedis, stand_in: RunningStandIn, partner_use: Params
) -> None:
    stand_in.settings(latency_ms=60)
    with running_stack(
        tmp_path / "stack", own_redis.url, stand_in.url_template, PARTNER_CONCURRENCY="2"
    ) as found:
        report_id = found.ask(**partner_use(**SPAN))
        streams = [Stream(found, report_id) for _ in range(20)]
        until(lambda: all(len(one.numbers) > 2 for one in streams), 60, lambda: found.printed)
        web = found.numbers_of("gunicorn")
        os.kill(web[0], signal.SIGTERM)
        until(lambda: not set(found.numbers_of("gunicorn")) & set(web), 60, lambda: found.printed)
        # Streams that keep it beyond its grace are killed, and gunicorn says so.
        assert "SIGKILL" not in found.printed
        until(lambda: answers_http(found.address), 60, lambda: found.printed)
        stand_in.settings(latency_ms=10)
        for one in streams:
            assert one.ended(60) == {"status": "done"}
            assert one.times_connected >= 2
        is_right(found, report_id)
        assert found.process is not None
        found.process.terminate()
        assert found.process.wait(60) == 0
        assert found.processes() == {}
