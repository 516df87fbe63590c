"""Use of computers, rooms and events: hours, share of the opening hours, most at once, idle ones.

A group is a computer, a room or an event; its units are what is counted in it at once: people at a
computer and in an event, computers in a room. A range is read a week at a time, so that a year of
many computers needs no more memory than a week of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any, Literal
from zoneinfo import ZoneInfo

from webapp.accounts import Scope
from webapp.kinds.session_activity.compute import (
    NO_TIME,
    ONE_DAY,
    Hours,
    Span,
    by_period,
    clipped,
    day_end,
    day_start,
    hours_by_day,
    hours_of_week,
    in_hours,
    most_at_once,
    overlap,
    united,
)
from webapp.kinds.session_activity.facts import event_names, find_logins, read_spans
from webapp.kinds.session_activity.models import ROOM_LENGTH
from webapp.kinds.session_activity.names import key_of, placed_computers, settings_of
from webapp.lib.batches import batched
from webapp.lib.moments import rfc3339

By = Literal["computer", "room", "event"]
# What is summed over the units of a group, beside the time in which any of them is there.
SUMMED = {"login": "machine", "computer": "person", "room": "machine", "event": "person"}
WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
DAYS_AT_ONCE, LOGINS_AT_ONCE = 7, 200
_OPEN = re.compile(
    r"(Mo|Tu|We|Th|Fr|Sa|Su)(?:-(Mo|Tu|We|Th|Fr|Sa|Su))? ([01]\d|2[0-3]):([0-5]\d)-"
    r"(?:([01]\d|2[0-3]):([0-5]\d)|24:00)"
)
# From hour and minute to hour and minute, by day of the week.
Opening = dict[int, list[tuple[time, time]]]


def read_opening(text: str) -> Opening:
    """Return opening hours as `Mo-Fr 08:00-18:00; Sa 09:00-12:00` says them; empty: none are set.

    Raises: ValueError with a sentence
    """
    hours: Opening = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        found = _OPEN.fullmatch(part)
        if found is None:
            raise ValueError("Write opening hours like Mo-Fr 08:00-18:00; Sa 09:00-12:00.")
        first, last = WEEKDAYS.index(found[1]), WEEKDAYS.index(found[2] or found[1])
        begin = time(int(found[3]), int(found[4]))
        end = time(int(found[5]), int(found[6])) if found[5] else time.max
        if end <= begin:
            raise ValueError("Opening hours end after they begin; split what crosses midnight.")
        for day in range(first, last + 1 if first <= last else last + 8):
            hours.setdefault(day % 7, []).append((begin, end))
    return hours


def open_spans(opening: Opening, first: date, last: date, zone: ZoneInfo) -> list[Span]:
    """Return when it is open from one day to another; always where no opening hours are set."""
    if not opening:
        return [Span(day_start(first, zone), day_end(last, zone))]
    days = (first + ONE_DAY * number for number in range((last - first).days + 1))
    return united(
        Span(
            datetime.combine(day, begin, zone).astimezone(UTC),
            day_end(day, zone)
            if end == time.max
            else datetime.combine(day, end, zone).astimezone(UTC),
        )
        for day in days
        for begin, end in opening.get(day.weekday(), ())
    )


def read_rooms(text: str) -> list[tuple[str, str]]:
    """Return patterns of names, `*` for anything, and the rooms of those computers, line by line.

    Raises: ValueError with a sentence
    """
    rooms = []
    for line in filter(None, map(str.strip, text.splitlines())):
        pattern, _, room = (part.strip() for part in line.partition("="))
        if not pattern or not room or len(room) > ROOM_LENGTH:
            raise ValueError("Write a line for each pattern, like pink* = Pink room.")
        rooms.append((key_of(pattern), room))
    return rooms


@dataclass
class Group:
    """What is known of a computer, a room or an event.

    computers: those that could be in use: the ones that are not switched off, and those that were
    """

    labels: dict[str, str]
    computers: set[int] = field(default_factory=set)
    hours: defaultdict[date, Hours] = field(default_factory=lambda: defaultdict(Hours))
    while_open: timedelta = NO_TIME
    most: int = 0
    most_at: datetime | None = None

    @property
    def total(self) -> Hours:
        """Return its hours in all."""
        return sum(self.hours.values(), Hours())


class Usage:
    """The use of a company's computers, rooms or events over a range of days."""

    def __init__(self, scope: Scope, by: By, group_by: str, zone: ZoneInfo) -> None:
        self._scope, self.by, self._group_by, self._zone = scope, by, group_by, zone
        settings = settings_of(scope.company_id)
        self._opening, patterns = read_opening(settings.opening_hours), read_rooms(settings.rooms)
        self.computers: dict[int, Any] = {}
        self._room_of: dict[int, str] = {}
        self.groups: dict[Any, Group] = {}
        for one in placed_computers(scope.company_id):
            matching = (room for pattern, room in patterns if fnmatchcase(one.key, pattern))
            room = one.room or next(matching, "")
            self.computers[one.id], self._room_of[one.id] = one, room
            if by == "computer":
                self.groups[one.id] = Group({"computer": one.name, "room": room}, {one.id})
            elif by == "room":
                group = self.groups.setdefault(room, Group({"room": room or "(no room)"}))
                group.computers |= set() if one.is_off else {one.id}
        self.open_for = NO_TIME
        self.by_hour: defaultdict[tuple[int, int], timedelta] = defaultdict(timedelta)
        self._seen: set[int] = set()

    def measure(
        self,
        login: str | None,
        event: str,
        first: date,
        last: date,
        now: datetime,
        *,
        on_week: Callable[[date], None] = lambda _: None,
    ) -> Usage:
        """Count from one day to another; of what lies ahead of now nothing counts as open."""
        logins = find_logins(self._scope, login, first, last)
        pages = list(batched(logins, LOGINS_AT_ONCE))
        count = (last - first).days + 1
        for number in range(0, count, DAYS_AT_ONCE):
            begin = first + ONE_DAY * number
            end = first + ONE_DAY * (min(number + DAYS_AT_ONCE, count) - 1)
            within = Span(day_start(begin, self._zone), min(day_end(end, self._zone), now))
            opened = clipped(open_spans(self._opening, begin, end, self._zone), *within)
            self.open_for += sum((span.end - span.start for span in opened), NO_TIME)
            units: defaultdict[Any, defaultdict[int, list[Span]]]
            units = defaultdict(lambda: defaultdict(list))
            for page in pages:
                for group, unit, spans in self._read(page, event, begin, end):
                    units[group][unit] += spans
            for group, spans_of in units.items():
                self._add(group, spans_of, (begin, end), opened)
            on_week(end)
        return self

    def _read(
        self, logins: list[Any], event: str, first: date, last: date
    ) -> Iterator[tuple[Any, int, list[Span]]]:
        """Yield group, unit and spans of some logins."""
        events = [event]
        if self.by == "event" and not event:
            events = event_names(logins, first, last, self._zone)
        for name in events:
            for login_id, at in read_spans(logins, name, first, last, self._zone).items():
                for computer_id, spans in at.items():
                    if self.by == "event":
                        yield name, login_id, spans
                    elif self.by == "room":
                        yield self._room_of[computer_id], computer_id, spans
                    else:
                        yield computer_id, login_id, spans

    def _add(
        self,
        key: Any,
        spans_of: dict[int, list[Span]],
        days: tuple[date, date],
        opened: list[Span],
    ) -> None:
        """Add the spans of a group's units in some days."""
        first, last = days
        bounds = day_start(first, self._zone), day_end(last, self._zone)
        units = {unit: united(clipped(spans, *bounds)) for unit, spans in spans_of.items()}
        found = hours_by_day(spans_of, first, last, self._zone)
        if not found:
            return
        group = self.groups.setdefault(key, Group({"event": str(key)}))
        for period, hours in by_period(found, self._group_by).items():
            group.hours[period] += hours
        most, at = most_at_once(units.values())
        if most > group.most:
            group.most, group.most_at = most, at
        used: Iterable[list[Span]] = units.values()
        if self.by == "computer":
            # It is in use once, however many people sit at it.
            used = [united(chain.from_iterable(used))]
            self._seen.add(key)
        elif self.by == "room":
            there = {unit for unit, spans in units.items() if spans}
            group.computers |= there
            self._seen |= there
        for spans in used:
            group.while_open += overlap(spans, opened)
            for place, length in hours_of_week(spans, self._zone).items():
                self.by_hour[place] += length

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each group, by name; empty rooms and idle computers among them."""
        for group in sorted(self.groups.values(), key=lambda one: tuple(one.labels.values())):
            row: dict[str, Any] = group.labels | summed(group.total, self.by)
            if self.by != "event":
                open_for = self.open_for * len(group.computers)
                share = round(100 * (group.while_open / open_for), 2) if open_for else None
                row["open_share"] = share
            at = rfc3339(group.most_at) if group.most_at else None
            yield row | {"most_at_once": group.most, "most_at": at}

    def idle(self) -> Iterable[dict[str, Any]]:
        """Return the computers that nobody sat at, by room and name."""
        unseen = [one for one in self.computers.values() if one.id not in self._seen]
        rows = [
            {
                "computer": one.name,
                "room": self._room_of[one.id],
                "last_seen": rfc3339(one.last_seen) if one.last_seen else None,
            }
            for one in unseen
            if not one.is_off
        ]
        return sorted(rows, key=lambda row: (row["room"], row["computer"]))

    def week(self) -> list[dict[str, Any]]:
        """Return hours by day of the week and hour of the day, a row a day."""
        return [
            {"weekday": name}
            | {f"{hour:02d}": in_hours(self.by_hour[day, hour], 2) for hour in range(24)}
            for day, name in enumerate(WEEKDAYS)
        ]


def summed(hours: Hours, by: str) -> dict[str, float]:
    """Return hours as rows have them: of the group, and summed over its units."""
    return {"hours": in_hours(hours.person), f"{SUMMED[by]}_hours": in_hours(hours.machine)}
