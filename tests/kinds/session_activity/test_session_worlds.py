"""Random worlds, told to the service in any order and put right afterwards, against a plain model.

The model looks at each minute of a night in which clocks are set back, and knows of no spans.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from tests.conftest import add_people, find_scope
from tests.kinds.session_activity.session_helpers import Sender, ping_body
from webapp.kinds.session_activity import SessionActivity
from webapp.kinds.session_activity.names import change_settings
from webapp.kinds.session_activity.use import WEEKDAYS

# 2023-10-29 03:00 in Berlin, an hour came twice; the day before was a Saturday.
START, BERLIN = datetime(2023, 10, 28, 16, tzinfo=UTC), ZoneInfo("Europe/Berlin")
MINUTES = 16 * 60
DAYS = {"range": "dates", "from_date": "2023-10-28", "to_date": "2023-10-29"}
LOGINS = ("anna", "bela", "cleo", "dora")
ROOMS = {"pink1": "Pink", "pink2": "Pink", "blue1": "Blue", "blue2": "Blue", "attic": "(no room)"}
OPENING = "Sa 18:00-24:00; Su 00:00-09:30"
Minutes = set[int]
# The minutes of a login at a computer, by event ('' for all of them).
Time = dict[tuple[str, str, str], Minutes]


def when(minute: int) -> str:
    return (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def day_of(minute: int) -> str:
    return (START + timedelta(minutes=minute)).astimezone(BERLIN).date().isoformat()


def is_open(minute: int) -> bool:
    local = (START + timedelta(minutes=minute)).astimezone(BERLIN)
    if local.date() == date(2023, 10, 28):
        return local.hour >= 18
    return (local.hour, local.minute) < (9, 30)


class World:
    """What happened, and what of it was put right."""

    def __init__(self, sender: Sender, seed: int) -> None:
        self.sender, self.chance = sender, random.Random(seed)
        self.time: Time = defaultdict(set)
        self.corrections: list[Any] = []
        self.same: dict[str, str] = {}

    def live(self) -> None:
        """Send the pings of some sessions in any order, some twice, and then some ends."""
        chance, sent, ends = self.chance, [], []
        for number in range(chance.randint(2, 7)):
            login, computer = chance.choice(LOGINS), chance.choice(list(ROOMS))
            session, first = f"s{number}", chance.randrange(MINUTES - 200)
            pings = [(first, chance.randint(1, 90), "")] + [
                (
                    first + chance.randrange(200),
                    chance.randint(1, 90),
                    chance.choice(["", "exam", "zoom"]),
                )
                for _ in range(chance.randrange(7))
            ]
            end = max(minute for minute, _, _ in pings) + chance.randint(0, 40)
            if chance.random() < 0.5:
                ends.append(ping_body(session, when(end), login, next_ping_sec=0))
            else:
                end = 10_000
            for minute, promise, event in pings:
                credited = set(range(minute, min(minute + promise, end)))
                for name in {"", event}:
                    self.time[login, computer, name] |= credited
            begun = self.sender.begin(
                session, when(first), login, comp_name=computer, next_ping_sec=pings[0][1] * 60
            )
            assert begun.status_code == 201, begun.text
            sent += [
                ping_body(
                    session, when(minute), login, next_ping_sec=60 * promise, session_type=event
                )
                for minute, promise, event in pings[1:]
            ]
        sent += chance.sample(sent, len(sent) // 3)
        chance.shuffle(sent)
        for bodies in (sent, ends):
            if bodies:
                assert self.sender.post("/activity", bodies).status_code == 201

    def put_right(self) -> None:
        """Correct, take back, and merge people and computers."""
        chance, sender = self.chance, self.sender
        for _ in range(chance.randrange(4)):
            login, computer = chance.choice(list(self.time))[:2]
            start, new = chance.randrange(MINUTES - 300), chance.randrange(MINUTES - 300)
            end = start + chance.randint(1, 300)
            new_end = new + chance.randint(1, 200) if chance.random() < 0.6 else None
            body = {"login": login, "comp_name": computer, "reason": "Wrong card"}
            body |= {"start": when(start), "end": when(end)}
            if new_end:
                body |= {"new_start": when(new), "new_end": when(new_end)}
            made = sender.post("/corrections", body)
            assert made.status_code == 201, made.text
            if chance.random() < 0.25:
                path = f"/api/session-manager/corrections/{made.json['data']['id']}"
                assert sender.client.delete(path, auth=sender.auth).status_code == 200
            else:
                right = set(range(new, new_end)) if new_end else set()
                self.corrections.append((login, computer, set(range(start, end)), right))
        for path, names in (("/users", LOGINS), ("/computers", tuple(ROOMS))):
            if chance.random() < 0.5:
                name, into = chance.sample(names, 2)
                self.same[name] = into
                merged = sender.client.patch(
                    f"/api/session-manager{path}",
                    json={"Name": name.upper(), "merge_into": into},
                    auth=sender.auth,
                )
                assert merged.status_code == 200, merged.text

    def counted(self) -> Time:
        """Return what counts in the end."""
        found: Time = defaultdict(set)
        for (login, computer, event), minutes in self.time.items():
            place = self.same.get(login, login), self.same.get(computer, computer)
            found[(*place, event)] |= minutes
        for login, computer, wrong, right in self.corrections:
            place = self.same.get(login, login), self.same.get(computer, computer)
            for event in {"", *(event for _, _, event in found)}:
                before = found[(*place, event)]
                gained = before & wrong & right if event else right
                found[(*place, event)] = (before - wrong) | gained
        return found


def by_day(minutes: Any) -> dict[str, float]:
    """Return hours by day of a set of minutes, or of several of which each counts."""
    sums: Counter[str] = Counter()
    for minute in minutes:
        sums[day_of(minute)] += 1
    return {day: round(count / 60, 6) for day, count in sums.items()}


def together(found: Time, of: Callable[[str, str, str], Any]) -> dict[Any, dict[Any, Minutes]]:
    """Return the minutes of each group's units; `of` names both for a login, computer, event."""
    groups: dict[Any, dict[Any, Minutes]] = defaultdict(lambda: defaultdict(set))
    for place, minutes in found.items():
        if minutes and (named := of(*place)):
            group, unit = named
            groups[group][unit] |= minutes
    return groups


GROUPS: dict[str, tuple[str, Callable[[str, str, str], Any]]] = {
    "login": ("machine_hours", lambda who, where, event: None if event else (who, where)),
    "computer": ("person_hours", lambda who, where, event: None if event else (where, who)),
    "room": ("machine_hours", lambda who, where, event: None if event else (ROOMS[where], where)),
    "event": ("person_hours", lambda who, where, event: (event, who) if event else None),
}


def compare(result: Any, found: Time, by: str, same: dict[str, str]) -> None:
    summed, of = GROUPS[by]
    groups = together(found, of)
    expected = {}
    for group, units in groups.items():
        any_of = by_day(set().union(*units.values()))
        all_of = by_day(minute for minutes in units.values() for minute in minutes)
        expected |= {(group, day): (any_of[day], all_of[day]) for day in any_of}
    assert {
        (row[by], row["date"]): (row["hours"], row[summed]) for row in result["hours"]
    } == expected
    if by == "login":
        return
    counts = {
        group: Counter(minute for minutes in units.values() for minute in minutes)
        for group, units in groups.items()
    }
    most = {row[by]: (row["most_at_once"], row["most_at"]) for row in result[f"{by}s"]}
    for group, at in counts.items():
        high = max(at.values())
        first = min(minute for minute, count in at.items() if count == high)
        assert most[group] == (high, when(first)), group
    if by == "event":
        return
    used = {where for _, where, event in found if not event and found[_, where, event]}
    stand = set(ROOMS) - set(same)
    assert {row["computer"] for row in result["idle"]} == stand - used
    opened = sum(map(is_open, range(-16 * 60, MINUTES + 15 * 60)))
    for row in result[f"{by}s"]:
        size = 1 if by == "computer" else sum(ROOMS[one] == row["room"] for one in stand)
        units = groups.get(row[by], {})
        within = (
            sum(map(is_open, set().union(*units.values())))
            if by == "computer"
            else sum(is_open(minute) for minutes in units.values() for minute in minutes)
        )
        share = round(100 * within / (opened * size), 2) if size else None
        assert row["open_share"] == share, row
    week: Counter[tuple[str, str]] = Counter()
    for units in groups.values():
        each = [set().union(*units.values())] if by == "computer" else units.values()
        for minutes in each:
            for minute in minutes:
                local = (START + timedelta(minutes=minute)).astimezone(BERLIN)
                week[WEEKDAYS[local.weekday()], f"{local:%H}"] += 1
    for row in result["week"]:
        for hour in range(24):
            minutes = week[row["weekday"], f"{hour:02d}"]
            assert row[f"{hour:02d}"] == round(minutes / 60, 2), (row["weekday"], hour)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(report_kinds=(SessionActivity(),), SESSION_TIMEZONE="Europe/Berlin")
    add_people(app)
    return app


@pytest.mark.parametrize("seed", range(6))
def test_each_world_is_that_of_the_plain_model(
    app: Flask, sender: Sender, report: Callable[..., Any], seed: int
) -> None:
    with app.app_context():
        rooms = "pink* = Pink\nblue* = Blue"
        change_settings(find_scope(app, "owner"), {"opening_hours": OPENING, "rooms": rooms})
    # The owner's program knows three other computers; here they would all be idle.
    for name in ("pink0001", "blue0002", "red0003"):
        into = {"Name": name, "merge_into": "attic"}
        sender.post("/computers", [{"Name": one} for one in ROOMS])
        sender.client.patch("/api/session-manager/computers", json=into, auth=sender.auth)
    sender.post("/users", [{"Name": name} for name in LOGINS])
    world = World(sender, seed)
    world.live()
    # Now October is stored; what is put right afterwards changes it.
    compare(report(by="login", group_by="date", **DAYS), world.counted(), "login", {})
    world.put_right()
    found = world.counted()
    for by in GROUPS:
        compare(report(by=by, group_by="date", **DAYS), found, by, world.same)
    for login in set(LOGINS) - set(world.same):
        data = sender.hours(
            login=login, from_date="2023-10-28", to_date="2023-10-29", session_type="exam"
        )
        minutes = set().union(
            *(of for (who, _, event), of in found.items() if (who, event) == (login, "exam"))
        )
        assert data["total_hours"] == round(len(minutes) / 60, 2)
