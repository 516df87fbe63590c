"""Status lines: stored without gaps, heard once and in order, however listeners come and go."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from redis import Redis

from tests.conftest import add_people, find_scope
from tests.engine.engine_helpers import Steps, begin, lines, rows_result, start
from tests.servers import free_port
from tests.soon import until
from webapp import jobs
from webapp.engine import attempt, service
from webapp.engine.run import Run
from webapp.errors import Unavailable
from webapp.extensions import redis_client
from webapp.jobs import Event, transitions
from webapp.ops.embedded_redis import find_binary

NOWHERE = "redis://127.0.0.1:1/0"


class Listener(threading.Thread):
    """Follows one report in a thread of its own and keeps what it heard."""

    def __init__(self, app: Flask, report_id: str, after: int = 0) -> None:
        super().__init__(daemon=True)
        self.events: list[Event] = []
        self.heartbeats = 0
        self.up = threading.Event()
        self._app, self._report_id, self._after = app, report_id, after
        self.gone = threading.Event()
        self.start()

    def run(self) -> None:
        with self._app.app_context():
            listening = jobs.Listening(self._report_id, self._after, gone=self.gone.is_set)
        for event in listening:
            self.up.set()
            if event is None:
                self.heartbeats += 1
            else:
                self.events.append(event)

    def ended(self, seconds: float = 60) -> list[Event]:
        """Return all events once the stream has ended by itself."""
        self.join(seconds)
        assert not self.is_alive(), f"still listening after {len(self.events)} events"
        return self.events

    @property
    def numbers(self) -> list[int]:
        return [event.seq for event in self.events if event.type == "status"]


def say(app: Flask, run: Run, *texts: str) -> None:
    with app.app_context():
        for text in texts:
            run.log(text)


def finish(app: Flask, run: Run) -> None:
    with app.app_context():
        attempt.store(run, rows_result())


def channels(redis: Redis, report_id: str) -> list[bytes]:
    """Return the subscriptions Redis has for a report."""
    found: list[bytes] = redis.pubsub_channels(f"*{report_id}*")  # type: ignore[assignment]
    return found


def test_numbers_have_no_gap_with_many_publishers_at_once(steps: Flask) -> None:
    run = begin(steps, start(steps))

    def speak(who: int) -> None:
        say(steps, run, *(f"{who}:{number}" for number in range(20)))

    threads = [threading.Thread(target=speak, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stored = lines(steps, run.report_id)
    assert [seq for seq, _ in stored] == list(range(1, 161))
    for who in range(8):
        mine = [text for _, text in stored if text.startswith(f"{who}:")]
        assert mine == [f"{who}:{number}" for number in range(20)]


def test_a_listener_that_comes_late_hears_everything_from_the_first_line(steps: Flask) -> None:
    run = begin(steps, start(steps))
    say(steps, run, "one", "two")
    finish(steps, run)
    events = Listener(steps, run.report_id).ended()
    assert [(event.type, event.seq) for event in events] == [
        ("status", 1),
        ("status", 2),
        ("end", 2),
    ]
    assert events[-1].data == {"status": "done"}


def test_a_listener_that_comes_back_hears_only_the_rest(steps: Flask) -> None:
    run = begin(steps, start(steps))
    say(steps, run, "one", "two", "three")
    finish(steps, run)
    listener = Listener(steps, run.report_id, after=2)
    listener.ended()
    assert listener.numbers == [3]


def test_a_listener_that_knows_all_hears_the_end(steps: Flask) -> None:
    run = begin(steps, start(steps))
    say(steps, run, "one")
    finish(steps, run)
    assert [event.type for event in Listener(steps, run.report_id, after=1).ended()] == ["end"]


def test_a_line_has_the_members_of_the_contract(steps: Flask) -> None:
    run = begin(steps, start(steps))
    run.set_total(3)
    say(steps, run, "one")
    finish(steps, run)
    data = Listener(steps, run.report_id).ended()[0].data
    assert list(data) == ["seq", "at", "level", "text", "done", "total"]
    assert (data["seq"], data["text"], data["level"], data["total"]) == (1, "one", "info", 3)
    assert data["at"].endswith("Z")


def test_the_first_thing_sent_is_a_comment_at_once(steps: Flask) -> None:
    run = begin(steps, start(steps))
    listener = Listener(steps, run.report_id)
    assert listener.up.wait(60)
    assert listener.heartbeats == 1
    finish(steps, run)
    listener.ended()


def test_a_quiet_stream_gets_a_comment_at_each_heartbeat(steps: Flask) -> None:
    run = begin(steps, start(steps))
    listener = Listener(steps, run.report_id)
    assert until(lambda: listener.heartbeats >= 4)
    finish(steps, run)
    listener.ended()


def test_lines_arrive_while_the_report_is_made(steps: Flask) -> None:
    run = begin(steps, start(steps))
    listener = Listener(steps, run.report_id)
    assert listener.up.wait(60)
    time.sleep(0.3)
    for number in range(5):
        say(steps, run, f"line {number}")
        assert until(lambda count=number + 1: len(listener.events) >= count)  # type: ignore[misc]
    finish(steps, run)
    assert listener.ended()[-1].type == "end"


def test_eight_readers_that_join_during_300_lines_hear_each_line_once_in_order(
    steps: Flask,
) -> None:
    run = begin(steps, start(steps))
    speaker = threading.Thread(
        target=lambda: say(steps, run, *(f"line {number}" for number in range(300)))
    )
    speaker.start()
    listeners = []
    for _ in range(8):
        listeners.append(Listener(steps, run.report_id))
        time.sleep(0.03)
    speaker.join(60)
    finish(steps, run)
    for listener in listeners:
        listener.ended()
        assert listener.numbers == list(range(1, 301))
        assert [event.type for event in listener.events].count("end") == 1


def test_listeners_of_a_process_share_one_subscription(steps: Flask) -> None:
    run = begin(steps, start(steps))
    before = connections(redis_client(steps))
    listeners = [Listener(steps, run.report_id) for _ in range(20)]
    assert all(listener.up.wait(60) for listener in listeners)
    assert until(lambda: len(channels(redis_client(steps), run.report_id)) == 1)
    assert connections(redis_client(steps)) - before <= 2
    finish(steps, run)
    for listener in listeners:
        listener.ended()


def connections(redis: Redis) -> int:
    return len(list(redis.client_list(_type="pubsub")))


def test_closed_listeners_leave_no_subscription(steps: Flask) -> None:
    run = begin(steps, start(steps))
    hub = steps.extensions["line_hub"]
    listeners = [Listener(steps, run.report_id) for _ in range(5)]
    assert all(listener.up.wait(60) for listener in listeners)
    redis = redis_client(steps)
    assert until(lambda: channels(redis, run.report_id) != [])
    for listener in listeners:
        listener.gone.set()
    for listener in listeners:
        listener.ended()
    assert len(hub) == 0
    assert until(lambda: channels(redis, run.report_id) == [])


def test_the_hub_gives_its_connection_back_when_nobody_listens(steps: Flask) -> None:
    run = begin(steps, start(steps))
    redis = redis_client(steps)
    before = connections(redis)
    listener = Listener(steps, run.report_id)
    assert until(lambda: connections(redis) == before + 1)
    finish(steps, run)
    listener.ended()
    assert until(lambda: connections(redis) == before)


def test_the_hub_listens_again_after_it_was_idle(steps: Flask) -> None:
    for _ in range(3):
        run = begin(steps, start(steps))
        listener = Listener(steps, run.report_id)
        assert listener.up.wait(60)
        say(steps, run, "one")
        finish(steps, run)
        listener.ended()
        assert listener.numbers == [1]


def test_a_stream_that_is_never_read_is_forgotten_when_it_is_closed(steps: Flask) -> None:
    report_id = start(steps)
    with steps.app_context():
        listening = jobs.Listening(report_id)
    assert len(steps.extensions["line_hub"]) == 1
    listening.close()
    assert len(steps.extensions["line_hub"]) == 0


def test_more_streams_than_the_server_can_serve_are_refused(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(report_kinds=(Steps(),), WEB_THREADS=10)
    add_people(app)
    report_id = start(app)
    with app.app_context():
        first = [jobs.Listening(report_id) for _ in range(2)]
        with pytest.raises(Unavailable):
            jobs.Listening(report_id)
        first[0].close()
        jobs.Listening(report_id).close()
        first[1].close()


def test_a_cancelled_report_ends_its_streams(steps: Flask) -> None:
    run = begin(steps, start(steps))
    listener = Listener(steps, run.report_id)
    assert listener.up.wait(60)
    with steps.app_context():
        service.cancel_report(find_scope(steps, "owner"), run.report_id)
    events = listener.ended()
    assert events[-2].data["text"] == "Cancelled on request."
    assert events[-1].data == {"status": "cancelled"}


def test_a_deleted_report_ends_its_streams(steps: Flask) -> None:
    run = begin(steps, start(steps))
    finish(steps, run)
    with steps.app_context():
        listening = jobs.Listening(run.report_id)
        service.delete_report(find_scope(steps, "owner"), run.report_id)
    assert [event.type for event in listening if event] == ["end"]


def test_a_line_nobody_published_is_read_from_the_database(
    make_app: Callable[..., Flask], steps: Flask
) -> None:
    """The speaker's Redis is away: publishing fails, the listener hears everything all the same."""
    mute = make_app(
        report_kinds=(Steps(),), REDIS_URL=NOWHERE, DATABASE_URL=steps.config["DATABASE_URL"]
    )
    run = begin(mute, start(mute))
    listener = Listener(steps, run.report_id)
    assert listener.up.wait(60)
    say(mute, run, "one", "two")
    with mute.app_context():
        assert not transitions.publish(run.report_id, Event("status", 9, {}))
    finish(mute, run)
    listener.ended()
    assert listener.numbers == [1, 2]


def test_a_listener_without_redis_hears_everything_by_the_database(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(report_kinds=(Steps(),), REDIS_URL=NOWHERE)
    add_people(app)
    run = begin(app, start(app))
    listener = Listener(app, run.report_id)
    assert listener.up.wait(60)
    for number in range(3):
        say(app, run, f"line {number}")
        assert until(lambda count=number + 1: len(listener.events) >= count)  # type: ignore[misc]
    finish(app, run)
    listener.ended()
    assert listener.numbers == [1, 2, 3]


@contextmanager
def redis_at(port: int, folder: Path) -> Iterator[None]:
    argv = [str(find_binary()), "--port", str(port), "--dir", str(folder), "--save", ""]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    client = Redis(port=port)
    try:
        assert until(lambda: answers(client))
        yield
    finally:
        server.kill()
        server.wait(60)
        client.close()


def answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except Exception:
        return False


def test_redis_killed_in_the_middle_of_a_stream_costs_no_line(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    port = free_port()
    app = make_app(report_kinds=(Steps(),), REDIS_URL=f"redis://127.0.0.1:{port}/0")
    add_people(app)
    with redis_at(port, tmp_path):
        run = begin(app, start(app))
        listener = Listener(app, run.report_id)
        assert listener.up.wait(60)
        say(app, run, "before")
        assert until(lambda: listener.numbers == [1])
    say(app, run, "while it is away")
    assert until(lambda: listener.numbers == [1, 2])
    with redis_at(port, tmp_path):
        say(app, run, "after")
        assert until(lambda: listener.numbers == [1, 2, 3])
        finish(app, run)
        listener.ended()
    assert listener.numbers == [1, 2, 3]


def test_rubbish_on_the_channel_disturbs_nobody(steps: Flask) -> None:
    run = begin(steps, start(steps))
    listener = Listener(steps, run.report_id)
    redis = redis_client(steps)
    assert until(lambda: channels(redis, run.report_id) != [])
    channel = channels(redis, run.report_id)[0]
    rubbish: list[Any] = [
        b"{",
        b"[]",
        b'{"type": 1}',
        b'{"type":"status","id":"x","data":{}}',
        b"\xff",
    ]
    for message in rubbish:
        redis.publish(channel.decode(), message)
    redis.publish(channel.decode(), b'{"type":"status","id":"7","data":{"text":"forged"}}')
    redis.publish(channel.decode(), b'{"type":"end","id":"9","data":{"status":"done"}}')
    say(steps, run, "one")
    finish(steps, run)
    events = listener.ended()
    assert [(event.type, event.seq) for event in events] == [("status", 1), ("end", 1)]
