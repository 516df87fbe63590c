"""The demo: a company, a sign-in, an API key, and two reports made as any program makes them.

Only ever against the stand-in partner API. What is needed to sign in again is kept 0600 under
DATA_DIR, so that later runs show the same; everything after that goes through the public HTTP API.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import current_app

from webapp import accounts
from webapp.accounts import find_key
from webapp.accounts.passwords import password_matches
from webapp.data_dir import STAND_IN_CREDENTIALS
from webapp.engine.registry import kinds
from webapp.errors import ReportError
from webapp.lib.months import current_month, month_text, next_month

COMPANY = "Demo Company"
EMAIL = "demo@example.com"
MONTHS_SHOWN = 12
SAVED_NAME = "Partner use, every month"
TIMEOUT_S = (5, 60)

Say = Callable[[str], None]


@dataclass(frozen=True)
class SignIn:
    """How a person and a program sign in as the demo user; no password: they chose their own."""

    email: str
    password: str
    api_key: str
    secret: str


def run_demo(address: str, say: Say) -> None:
    """Make the demo's user, run both reports against `address`, say where to go on."""
    sign_in = kept_sign_in(Path(current_app.config["DATA_DIR"]) / "demo.json")
    last = current_month()
    first = next_month(last, 1 - MONTHS_SHOWN)
    program = ApiProgram(address, sign_in, say)
    summary = program.run({"mode": "summary"})["summary"]
    for name, value in summary.items():
        say(f"  {name:<18}{_digits(value):>26}")
    months = program.run({"mode": "monthly", "start": month_text(first), "end": month_text(last)})
    say(f"  {'month':<10}{'total_users':>14}{'delta':>12}")
    for row in months["months"]:
        say(f"  {row['month']:<10}{_digits(row['total_users']):>14}{_digits(row['delta']):>12}")
    say("  calls made {made}, saved {saved}\n".format_map(months["api_calls"]))
    demo_user = accounts.find_user(EMAIL)
    for kind in kinds().values():
        if demo_user and (sentence := kind.seed_demo(demo_user.home_company_id)):
            say(f"{kind.title}: {sentence}")
    if demo_user and (connection := _connection(demo_user)):
        program.save_monthly(connection, demo_user.email)
    say_farewell(address, sign_in, say)


def _connection(user: accounts.User) -> str:
    """Return the stored connection of the demo's company, empty where there is none."""
    scope = accounts.scope_of(user, user.home_company_id)
    choices = kinds()["partner-use"].choices(scope).get("connection", ()) if scope else ()
    return next((value for value, _ in choices if value), "")


def say_farewell(address: str, sign_in: SignIn, say: Say) -> None:
    """Print where to go on, and how to sign in there."""
    password = f"password  {sign_in.password}" if sign_in.password else "your own password"
    say("")
    say(f"  Open      {address}")
    say(f"  Sign in   {sign_in.email}  {password}")
    say(f"  API key   {sign_in.api_key}  secret  {sign_in.secret}")
    partner = "  Partner   {partner_id}  user key  {user_key}  secret  {user_secret}"
    say(partner.format_map(STAND_IN_CREDENTIALS))
    say("  Stop      Ctrl-C")
    say("")


class ApiProgram:
    """A program that calls the API: it knows addresses, JSON and event streams, nothing else."""

    def __init__(self, address: str, sign_in: SignIn, say: Say) -> None:
        self._address = address
        self._say = say
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.auth = (sign_in.api_key, sign_in.secret)

    def run(self, params: dict[str, Any]) -> dict[str, Any]:
        """Ask for a report, print its lines as they come, return its result."""
        self._say(f"\nPOST {self._address}/api/v1/reports  partner-use, {params['mode']}")
        with self._http.post(
            f"{self._address}/api/v1/reports",
            json={"kind": "partner-use", "params": STAND_IN_CREDENTIALS | params},
            headers={"Accept": "text/event-stream"},
            stream=True,
            timeout=TIMEOUT_S,
        ) as answer:
            _check_answer(answer)
            self._follow(answer)
        url = f"{self._address}{answer.headers['Location']}/result"
        result = self._http.get(url, timeout=TIMEOUT_S)
        _check_answer(result)
        document: dict[str, Any] = result.json()
        return document

    def save_monthly(self, connection: str, email: str) -> None:
        """Save a report of the last months, make it for each of them, and once as it is sent."""
        saved = self._send("GET", "/definitions")
        found = next((one for one in saved if one["name"] == SAVED_NAME), None)
        if found is None:
            params = {"partner_id": STAND_IN_CREDENTIALS["partner_id"], "connection": connection}
            params |= {"mode": "monthly"}
            first = params | {"start": "last_closed", "end": "last_closed"}
            new = {"name": SAVED_NAME, "kind": "partner-use", "params": first}
            found = self._send("POST", "/definitions", new)
            own = f"/definitions/{found['id']}"
            self._say(f"\nSaved report: {SAVED_NAME}, made for each of {MONTHS_SHOWN} months…")
            for back in range(MONTHS_SHOWN - 1, 0, -1):
                month = {"start": f"-{back}", "end": f"-{back}"}
                self._send("PATCH", own, {"params": params | month})
                self._wait_for_report(self._send("POST", f"{own}/run")["id"])
            # Nobody is told of those: readers are named when all of them are over.
            while any(run["status"] != "over" for run in self._send("GET", f"{own}/runs")):
                time.sleep(0.5)
            last = params | {"start": f"-{MONTHS_SHOWN - 1}", "end": "last_closed"}
            self._send("PATCH", own, {"params": last} | _monthly(email))
            self._wait_for_report(self._send("POST", f"{own}/run")["id"])
        self._say(f"Saved report: {self._address}/saved/{found['id']}")

    def _wait_for_report(self, report_id: str) -> None:
        while self._send("GET", f"/reports/{report_id}")["status"] in {"queued", "running"}:
            time.sleep(0.2)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self._address}/api/v1{path}"
        answer = self._http.request(method, url, json=body, timeout=TIMEOUT_S)
        _check_answer(answer)
        return answer.json()

    def _follow(self, answer: requests.Response) -> None:
        for name, data in events(answer):
            if name == "status":
                self._say(f"  {data['seq']:>4}  [{data['done']}/{data['total']}] {data['text']}")
            elif name == "end":
                self._say(f"The report is {data['status']}.")
                return
        raise ReportError("The event stream of the demo's report broke off.")


def _monthly(email: str) -> dict[str, Any]:
    """Return when the demo's saved report is made, whom it tells, and what it watches."""
    hooks = urlsplit(current_app.config["PARTNER_API_URL"])
    return {
        "schedule": {"every": "month", "grace_days": 1, "at": "07:00"},
        "deliver": [
            {"by": "email", "to": [email], "attach": ["xlsx"]},
            {"by": "webhook", "url": f"{hooks.scheme}://{hooks.netloc}/hooks"},
        ],
        "alerts": [
            {
                "name": "Nearly full",
                "figure": "Share of what is bought",
                "when": "above",
                "limit": 80,
            }
        ],
    }


def events(answer: requests.Response) -> Iterator[tuple[str, Any]]:
    """Yield (event, data) of an event stream; comments are skipped."""
    name, data = "message", ""
    for raw in answer.iter_lines(chunk_size=1):
        line = raw.decode("utf-8")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            yield name, json.loads(data)
            name, data = "message", ""
        elif field == "event":
            name = value
        elif field == "data":
            data += value


def _check_answer(answer: requests.Response) -> None:
    if answer.ok:
        return
    raise ReportError(f"The demo was answered {answer.status_code}: {answer.text[:300]}")


def _digits(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else str(value)


def kept_sign_in(path: Path) -> SignIn:
    """Return the demo's sign-in: what was kept from an earlier run, as far as it still works."""
    kept, user = _read_sign_in(path), accounts.find_user(EMAIL)
    if user and not kept:
        raise ReportError(
            f"There is a user {EMAIL} whose password is not kept in {path}; the demo leaves it "
            "alone. Delete the user, or set DATA_DIR to another folder."
        )
    if user is None or kept is None:
        # One that is typed without mistakes: groups of plain letters and digits.
        letters = "abcdefghjkmnpqrstuvwxyz23456789"
        groups = ("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))
        password = "-".join(groups)
        user = accounts.create_user(EMAIL, COMPANY, "operator", password, first_name="Demo")
    else:
        password = kept.password if password_matches(user.password_hash, kept.password) else ""
        if find_key(kept.api_key, kept.secret):
            return replace(kept, password=password)
    key, secret = accounts.create_key(user, "demo")
    made = SignIn(EMAIL, password, key.key_id, secret)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(made), file)
    return made


def _read_sign_in(path: Path) -> SignIn | None:
    try:
        return SignIn(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
