"""Logs: one JSON line a record, with what it is about and without what nobody may read."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import Api
from tests.engine.engine_helpers import Steps, run, start
from webapp.engine.kind import Result, Run
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.ops import logs

Params = Callable[..., dict[str, Any]]


class Told:
    """What the program's own logger wrote, as it would be written for a collector."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(logs.JsonLines("test"))
        self.handler.addFilter(logs.AddFacts())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def told() -> Iterator[Told]:
    found = Told()
    ours = logging.getLogger("webapp")
    before = ours.level
    ours.setLevel("INFO")
    ours.addHandler(found.handler)
    yield found
    ours.removeHandler(found.handler)
    ours.setLevel(before)


def test_a_request_and_its_report_are_found_by_the_request_number(
    app: Flask, api_for: Callable[[str], Api], partner_use: Params, told: Told
) -> None:
    body = {"kind": "partner-use", "params": partner_use()}
    answer = api_for("owner").post("/reports", body, headers={"X-Request-ID": "order-4711-abc"})
    assert answer.headers["X-Request-ID"] == "order-4711-abc"
    asked = next(line for line in told.lines if line["message"].endswith("was asked for"))
    assert asked["report_id"] == answer.json["id"]
    assert (asked["request_id"], asked["kind"]) == ("order-4711-abc", "partner-use")
    assert asked["user"] == answer.json["requested_by"]
    access = next(line for line in told.lines if line["logger"] == "webapp.access")
    assert (access["method"], access["path"], access["status"]) == ("POST", "/api/v1/reports", 202)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", access["time"])
    assert "ZGVtby1zZWNyZXQ=" not in told.stream.getvalue()


@pytest.mark.parametrize("given", ["", "short", "two words here", "x" * 101, "{evil}-12345678"])
def test_a_request_number_that_is_not_well_formed_is_replaced(app: Flask, given: str) -> None:
    answer = app.test_client().get("/healthz", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_an_error_names_its_request(app: Flask, api_for: Callable[[str], Api]) -> None:
    answer = api_for("owner").get("/reports/nothing", headers={"X-Request-ID": "req-12345678"})
    assert answer.status_code == 404
    assert answer.json["request_id"] == "req-12345678"


def test_paths_are_logged_without_queries_and_tokens(
    client_for: Callable[[str], FlaskClient], told: Told
) -> None:
    client = client_for("owner")
    client.get("/invite/planted-canary-1?again=planted-canary-2")
    client.get("/invite/planted-canary-3/else")
    written = told.stream.getvalue()
    assert "planted-canary" not in written
    assert any(line.get("path") == "/invite/…" for line in told.lines)


def test_an_exception_is_told_by_its_place_and_not_its_words() -> None:
    log = logging.getLogger("webapp.test")
    told = Told()
    log.addHandler(told.handler)
    try:
        try:
            raise ValueError("-".join(("planted", "canary")))
        except ValueError:
            log.exception("it\nbroke\u2028here")
        try:
            raise Conflict("The report is done already.")
        except Conflict:
            log.exception("again")
    finally:
        log.removeHandler(told.handler)
    first, second = told.lines
    assert "planted-canary" not in first["exception"]
    assert first["exception"].startswith("ValueError\n")
    assert "test_logs.py" in first["exception"]
    assert first["level"] == "error"
    assert second["exception"].startswith("Conflict: The report is done already.")
    assert len(told.stream.getvalue().split("\n")) == 3


def test_a_failing_report_is_logged_with_its_place_and_without_words(
    make_app: Callable[..., Flask], told: Told
) -> None:
    from tests.conftest import add_people

    def work(_run: Run) -> Result:
        raise KeyError("-".join(("planted", "canary")))

    app = make_app(report_kinds=(Steps(work),))
    add_people(app)
    report = run(app, start(app))
    failed = next(line for line in told.lines if "failed: KeyError" in line["message"])
    assert failed["report_id"] == report.id
    assert "test_logs.py" in failed["message"]
    assert "planted-canary" not in told.stream.getvalue()


def test_text_for_a_terminal_is_one_line_that_cannot_steer_it() -> None:
    record = logging.LogRecord("webapp.x", logging.WARNING, "", 0, "a\x1b[2Jb\nfake", (), None)
    record.report_id = "r1"
    text = logs.TextLines().format(record)
    assert text.endswith("warning a [2Jb\n    fake (report_id=r1)")


def test_what_rq_says_of_a_failed_job_ends_before_the_traceback() -> None:
    record = logging.LogRecord("rq.worker", logging.ERROR, "", 0, "[Job x] failed\nboo", (), None)
    assert json.loads(logs.JsonLines("worker").format(record))["message"] == "[Job x] failed"


def test_errors_of_the_database_do_not_hold_values(app: Flask) -> None:
    with app.app_context(), pytest.raises(Exception, match="no_such_table") as found:
        db.session.execute(db.text("SELECT * FROM no_such_table WHERE a = :a"), {"a": "canary"})
    assert "canary" not in str(found.value)


@pytest.fixture
def line_writer() -> Iterator[logging.Logger]:
    """Return a logger that writes as the programs do, to the process's own stderr."""
    logger = logging.getLogger("tests.line_writer")
    handler = logs.Lines()
    handler.setFormatter(logs.JsonLines("test"))
    handler.addFilter(logs.AddFacts())
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)


def test_lines_of_many_threads_stay_whole(
    line_writer: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    def tell(number: int) -> None:
        for count in range(100):
            # Some longer than what the system writes in one piece.
            line_writer.warning("%s-%s %s", number, count, "x" * (count * 70))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [json.loads(line)["message"].split() for line in capfd.readouterr().err.splitlines()]
    assert {line[0] for line in told} == {f"{n}-{c}" for n in range(8) for c in range(100)}
    assert len(told) == 800


def test_a_process_forked_while_a_line_is_written_writes_its_own(
    line_writer: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    [handler] = (one for one in line_writer.handlers if isinstance(one, logs.Lines))
    with handler._writing:
        line_writer.warning("of the parent")
        child = os.fork()
        if not child:
            line_writer.warning("of the child")
            os._exit(0)
        os.waitpid(child, 0)
    line_writer.warning("the end")
    told = [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()]
    assert told == ["of the child", "of the parent", "the end"]


def test_a_line_that_cannot_be_written_ends_nothing(
    line_writer: logging.Logger, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    line_writer.warning("too few %s %s", "words")
    # Past the logger: pytest's own handler would keep it for a report it then cannot hand on.
    [handler] = (one for one in line_writer.handlers if isinstance(one, logs.Lines))
    text = "half a letter: \ud800"
    handler.handle(line_writer.makeRecord("t", logging.WARNING, "", 0, text, (), None))
    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["message"] == text


def test_a_filter_may_keep_a_record_back(
    line_writer: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    line_writer.handlers[0].addFilter(lambda record: "secret" not in record.getMessage())
    line_writer.warning("a secret")
    line_writer.warning("told")
    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "told"


def test_of_warnings_that_say_the_same_a_few_are_written(told: Told) -> None:
    told.handler.filters.insert(0, logs.FewAlike())
    log = logging.getLogger("webapp.jobs")
    for number in range(50):
        log.warning("a line of %s waits", number)
        log.info("%s is done", number)
        log.error("%s failed", number)
    log.warning("something else waits")
    seen = [line["message"] for line in told.lines]
    waits = [message for message in seen if "waits" in message]
    assert len(seen) == 50 + 50 + logs.MOST_ALIKE + 1
    assert waits[:2] == ["a line of 0 waits", "a line of 1 waits"]
    assert waits[-2].startswith("a line of 4 waits (more like this")
