"""Planted secrets, sent down every path, are then looked for wherever text is kept or shown."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_KEY, DEMO_SECRET, PASSWORD, SECRET_KEY, Api, find_scope, form_token
from webapp import jobs
from webapp.accounts import create_key, find_user
from webapp.engine.models import Report
from webapp.errors import ReportError
from webapp.extensions import db, redis_client
from webapp.kinds.partner_use import connections

ROOT = Path(__file__).resolve().parents[1]
WRONG = base64.b64encode(b"planted canary of a user secret").decode()
PLANTED = {DEMO_SECRET, WRONG}


class Installation:
    """Where a secret could be kept or shown, and a look into all of it."""

    def __init__(self, app: Flask, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        self.app, self._caplog, self._folder = app, caplog, tmp_path
        self.shown: list[str] = []

    def show(self, answer: Any) -> Any:
        """Keep what was sent to a reader."""
        text = answer.get_data()
        self.shown.append(f"{answer.headers}\n{text.decode('utf-8', 'replace')}")
        return answer

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield everything that is kept: the database's cells and file, Redis, logs, answers."""
        with self.app.app_context():
            for table in db.metadata.sorted_tables:
                for row in db.session.execute(sa.text(f'SELECT * FROM "{table.name}"')):
                    yield f"table {table.name}", repr(tuple(row))
            db.session.remove()
            redis = redis_client()
            for key in redis.scan_iter("*"):
                yield f"redis {key!r}", f"{key!r} {_value(redis, key)!r}"
        for record in self._caplog.records:
            yield "log", f"{record.getMessage()} {record.exc_text or ''} {record.exc_info or ''}"
        for text in self.shown:
            yield "answer", text
        for path in self._folder.rglob("*"):
            if path.is_file():
                yield f"file {path.name}", path.read_bytes().decode("latin-1")

    def assert_clean(self, *secrets: str) -> None:
        for place, text in self.places():
            for secret in secrets:
                for form in forms(secret):
                    assert form not in text, f"{secret!r} is in {place}: {text[:300]}"


def forms(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, in a URL, as JSON, decoded, encoded again."""
    found = {secret, secret.replace("=", "%3D"), json.dumps(secret)[1:-1]}
    found.add(base64.b64encode(secret.encode()).decode().rstrip("="))
    with suppress(ValueError):
        found.add(base64.b64decode(secret, validate=True).decode())
    return {form for form in found if len(form) > 8}


def _value(redis: Redis, key: bytes) -> Any:
    kind = redis.type(key)
    read: dict[bytes, Callable[[], Any]] = {
        b"string": lambda: redis.get(key),
        b"hash": lambda: redis.hgetall(key),
        b"list": lambda: redis.lrange(key, 0, -1),
        b"set": lambda: redis.smembers(key),
        b"zset": lambda: redis.zrange(key, 0, -1),
        b"stream": lambda: redis.xrange(key),
    }
    value = read.get(bytes(kind), lambda: redis.dump(key))()  # type: ignore[call-overload, arg-type]
    if isinstance(value, dict):
        # RQ squeezes what a job carries and what it ended with.
        return {name: _unsqueezed(part) for name, part in value.items()}
    return value


def _unsqueezed(part: bytes) -> bytes:
    import zlib

    with suppress(zlib.error):
        return zlib.decompress(part)
    return part


@pytest.fixture
def installation(app: Flask, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Installation:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("webapp").setLevel(logging.DEBUG)
    return Installation(app, caplog, tmp_path)


def run(app: Flask, report_id: str) -> None:
    with app.app_context(), suppress(ReportError, RuntimeError):
        jobs.run_queued(report_id)


def params(**more: Any) -> dict[str, Any]:
    return {"partner_id": "70000001", "user_key": DEMO_KEY, "user_secret": DEMO_SECRET} | more


def test_what_is_really_there_would_be_found(
    installation: Installation, api_for: Callable[[str], Api]
) -> None:
    api = api_for("owner")
    made = installation.show(api.post("/reports", {"kind": "partner-use", "params": params()})).json
    for known in (DEMO_KEY, made["id"]):
        found = {place.split()[0] for place, text in installation.places() if known in text}
        assert {"table", "answer", "file"} <= found | {"file"}
        assert known == DEMO_KEY or "redis" in found
    with pytest.raises(AssertionError):
        installation.assert_clean(DEMO_KEY)


PATHS = ("", "/events", "/result", "/result?format=csv", "/result?format=xlsx")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, None),
        ({"mode": "monthly", "start": "2024-01", "end": "2024-02"}, None),
        ({"user_secret": WRONG}, None),
        ({"partner_id": "12345"}, None),
        ({"partner_id": "70000007"}, None),
        ({}, {"fault": "html", "method": "accounts.search", "times": 1}),
        ({}, {"fault": "error:403007", "method": "admin.getUserSites"}),
        ({}, {"fault": "no-error-code", "method": "admin.getSiteConfig", "times": 1}),
    ],
    ids=["summary", "monthly", "wrong", "unknown", "refused", "html", "no-list", "odd-answer"],
)
def test_a_secret_sent_by_the_api_is_nowhere_whatever_came_of_it(
    installation: Installation,
    api_for: Callable[[str], Api],
    stand_in: RunningStandIn,
    given: dict[str, Any],
    fault: dict[str, Any] | None,
) -> None:
    api = api_for("owner")
    stand_in.faults([fault] if fault else [])
    body = {"kind": "partner-use", "params": params(**given)}
    report_id = installation.show(api.post("/reports", body)).json["id"]
    installation.assert_clean(*PLANTED)
    run(installation.app, report_id)
    for path in PATHS:
        installation.show(api.get(f"/reports/{report_id}{path}"))
    installation.show(api.get("/reports"))
    installation.assert_clean(*PLANTED, api.auth[1])


def test_a_secret_that_waits_for_a_worker_is_sealed(
    installation: Installation, api_for: Callable[[str], Api]
) -> None:
    api = api_for("owner")
    report_id = api.post("/reports", {"kind": "partner-use", "params": params()}).json["id"]
    installation.assert_clean(*PLANTED)
    installation.show(api.delete(f"/reports/{report_id}"))
    installation.assert_clean(*PLANTED)
    with installation.app.app_context():
        assert db.session.get_one(Report, report_id).sealed is None


def test_a_secret_in_a_refused_request_is_not_sent_back(
    installation: Installation, api_for: Callable[[str], Api]
) -> None:
    api = api_for("owner")
    for bad in (
        params(user_secret=WRONG, partner_id="x"),
        params(user_secret=[WRONG]),
        params(user_secret={"x": WRONG}),
        params(user_secret=WRONG + "\x00"),
        params(secret=WRONG),
    ):
        for path in ("/reports", "/reports/estimate"):
            installation.show(api.post(path, {"kind": "partner-use", "params": bad}))
    raw = f'{{"kind": "partner-use", "params": {{"user_secret": "{WRONG}"'.encode()
    installation.show(
        api.client.post("/api/v1/reports", auth=api.auth, data=raw, content_type="application/json")
    )
    installation.show(
        api.post("/reports/estimate", {"kind": "partner-use", "params": params(user_secret=WRONG)})
    )
    installation.assert_clean(WRONG)


def test_a_secret_typed_into_the_form_is_nowhere(
    installation: Installation, client_for: Callable[[str], FlaskClient]
) -> None:
    client = client_for("owner")
    token = form_token(client)
    form = params(csrf_token=token, mode="summary")
    for bad in ({"partner_id": "x"}, {"mode": "monthly", "start": "2024-13"}):
        installation.show(client.post("/reports/new/partner-use", data=form | bad))
    installation.show(client.post("/reports/new/partner-use/estimate", data=form))
    made = installation.show(client.post("/reports/new/partner-use", data=form))
    assert made.status_code == 303
    page = made.headers["Location"]
    installation.show(client.get(page))
    run(installation.app, page.rsplit("/", 1)[1])
    for path in (page, f"{page}.csv", f"{page}.json", f"{page}.xlsx", "/", "/months"):
        installation.show(client.get(path))
    installation.assert_clean(*PLANTED)


def test_a_stored_connection_shows_and_leaves_its_secret_nowhere(
    installation: Installation, client_for: Callable[[str], FlaskClient]
) -> None:
    client = client_for("owner")
    token = form_token(client)
    form = {"name": "Demo", **params(csrf_token=token)}
    installation.show(client.post("/connections", data=form | {"partner_id": "x"}))
    installation.show(client.post("/connections", data=form))
    installation.show(
        client.post("/connections", data=form | {"name": "Two", "user_secret": WRONG})
    )
    with installation.app.app_context():
        stored = [one.id for one in connections.of_company(find_scope(installation.app, "owner"))]
    for one in stored:
        installation.show(client.post(f"/connections/{one}/test", data={"csrf_token": token}))
    installation.show(client.get("/connections"))
    installation.show(client.get("/audit"))
    installation.assert_clean(*PLANTED)


def test_a_crash_with_the_secret_in_its_words_leaves_it_nowhere(
    installation: Installation, api_for: Callable[[str], Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one thing that must be broken by hand: a fault of ours that quotes what it was given."""
    api = api_for("owner")
    kind = installation.app.extensions["report_kinds"]["partner-use"]

    def crash(_params: Any, run: Any, _context: Any) -> Any:
        raise ValueError(f"cannot use {run.secrets['user_secret']}")

    monkeypatch.setattr(kind, "run", crash, raising=False)
    report_id = api.post("/reports", {"kind": "partner-use", "params": params()}).json["id"]
    run(installation.app, report_id)
    installation.show(api.get(f"/reports/{report_id}"))
    installation.show(api.get(f"/reports/{report_id}/events"))
    with installation.app.app_context():
        assert db.session.get_one(Report, report_id).status == "failed"
    installation.assert_clean(*PLANTED)


def test_passwords_keys_and_tokens_are_nowhere(
    installation: Installation,
    api_for: Callable[[str], Api],
    client_for: Callable[[str], FlaskClient],
) -> None:
    with installation.app.app_context():
        user = find_user("owner@example.com")
        assert user is not None
        key, secret = create_key(user, "canary")
        key_id = key.key_id
    client = installation.app.test_client()
    token = client.post("/api/keys/v1/api/auth", json={"apiKey": key_id, "secret": secret}).json
    assert token is not None
    browser = client_for("owner")
    for path in ("/", "/keys", "/account", "/members", "/audit"):
        installation.show(browser.get(path))
    installation.show(client.get("/api/v1/reports", headers={"Authorization": "Bearer x.y.z"}))
    installation.show(client.get("/api/v1/reports", auth=(key_id, secret + "x")))
    installation.show(
        client.get("/api/v1/reports", headers={"Authorization": f"Bearer {token['accessToken']}x"})
    )
    installation.assert_clean(
        PASSWORD, secret, token["accessToken"], token["refreshToken"], SECRET_KEY
    )


@pytest.mark.once
@pytest.mark.parametrize("secret", [DEMO_SECRET, WRONG], ids=["right", "wrong"])
def test_the_command_line_takes_the_secret_unseen(
    installation: Installation, tmp_path: Path, secret: str
) -> None:
    config = installation.app.config
    kept = {name: str(config[name]) for name in ("DATABASE_URL", "REDIS_URL", "PARTNER_API_URL",
                                                 "DATA_DIR", "QUEUE")}  # fmt: skip
    env = os.environ | kept | {"SECRET_KEY": SECRET_KEY, "PARTNER_USER_SECRET": secret}
    argv = [sys.executable, "-m", "flask", "--app", "wsgi.py", "report", "partner-use",
            "--partner-id", "70000001", "--user-key", DEMO_KEY, "--user", "owner@example.com",
            "--format", "json"]  # fmt: skip
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == (0 if secret == DEMO_SECRET else 1), done.stderr
    installation.shown += [done.stdout, done.stderr]
    installation.assert_clean(secret)


def test_the_dashboard_of_the_queue_shows_no_secret(
    installation: Installation,
    api_for: Callable[[str], Api],
    client_for: Callable[[str], FlaskClient],
) -> None:
    api = api_for("owner")
    report_id = api.post("/reports", {"kind": "partner-use", "params": params()}).json["id"]
    operator = client_for("operator")
    queue = installation.app.config["QUEUE"]
    for path in (
        "/ops/rq/", f"/ops/rq/0/view/job/{report_id}", f"/ops/rq/0/data/job/{report_id}.json",
        f"/ops/rq/0/data/jobs/{queue}/queued/10/asc/1.json", "/metrics",
    ):  # fmt: skip
        installation.show(operator.get(path))
    installation.assert_clean(*PLANTED)


def test_the_sources_hold_no_secret_but_the_stand_ins() -> None:
    """A secret of the demo partner is public; nothing else looks like one."""
    shape = re.compile(r"(?:-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|ghp_\w{30,})")
    for folder in ("webapp", "sandbox", "migrations", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".html", ".yml", ".toml"}:
                assert not shape.search(path.read_text("utf-8")), path
