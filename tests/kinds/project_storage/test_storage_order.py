"""The set of events decides: not when, how often or in which order they came in."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tests.kinds.project_storage.storage_helpers import Storage, plainly, project_key, rows_of
from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.compute import Effects, Event
from webapp.kinds.project_storage.models import Counter, StorageMonth

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

facts = st.lists(
    st.tuples(
        # Half of them at the same time, as clocks that tell seconds give it.
        st.one_of(st.just(5), st.integers(0, 90)).map(lambda day: day * DAY_US),
        st.uuids(version=4).map(str),
        st.sampled_from(["upload", "upload", "trash", "restore", "purge"]),
        st.sampled_from(["v1", "v2", "v3"]),
        st.integers(0, 2**40),
        st.integers(1, 2),
    ),
    max_size=14,
)


def effects_in_steps(order: list[Any], cuts: set[int]) -> Effects:
    """Count events as they come in, a step at each cut, by the difference a step makes."""
    effects = Effects()
    stored: list[Any] = []
    waiting: list[Any] = []
    for number, fact in enumerate(order):
        if fact[1] not in {one[1] for one in stored + waiting}:
            waiting.append(fact)
        if number in cuts or number == len(order) - 1:
            for version in {one[3] for one in waiting}:
                before = [as_event(one) for one in stored if one[3] == version]
                new = [as_event(one) for one in waiting if one[3] == version]
                effects.add(before, -1)
                effects.add(before + new)
            stored, waiting = stored + waiting, []
    return effects


def as_event(fact: Any) -> Event:
    at_us, event_id, kind, _, size, provider = fact
    is_upload = kind == "upload"
    return Event(
        at_us, event_id, kind, size if is_upload else None, provider if is_upload else None
    )


def tidy(effects: Effects) -> tuple[Any, Any]:
    return effects.counters, {month: row for month, row in effects.months.items() if any(row)}


@settings(max_examples=150)
@given(facts, st.randoms(use_true_random=False))
def test_any_shuffle_with_repeats_equals_the_ordered_run(
    ordered: list[Any], chance: random.Random
) -> None:
    plain = effects_in_steps(sorted(ordered), set())
    shuffled = ordered + [chance.choice(ordered) for _ in ordered]
    chance.shuffle(shuffled)
    cuts = {chance.randrange(30) for _ in range(5)}
    assert tidy(effects_in_steps(shuffled, cuts)) == tidy(plain)
    counters = {provider: tuple(row) for provider, row in plain.counters.items()}
    uploads = [one if one[2] == "upload" else (*one[:4], 0, 0) for one in ordered]
    assert counters == plainly(uploads)


@pytest.mark.parametrize(
    ("kinds", "held"),
    [
        (["upload", "trash"], (0, 0, 1, 100)),
        (["upload", "trash", "restore"], (1, 100, 0, 0)),
        (["upload", "trash", "restore", "purge"], (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_what_happened_in_one_second_counts_in_the_order_of_a_files_life(
    owner: Storage,
    count: Callable[[], int],
    kinds: list[str],
    held: tuple[int, ...],
    backwards: bool,
) -> None:
    # Their ids sort the one way and the other.
    ids = [f"e{number}" for number in range(len(kinds))]
    names = reversed(ids) if backwards else ids
    owner.send(
        [
            owner.event(kind, "v1", "2025-01-01T00:00:00Z", id=name)
            for kind, name in zip(kinds, names, strict=True)
        ]
    )
    count()
    assert owner.held() == held


def test_counters_of_an_older_order_are_put_right_by_a_recount(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    at = "2025-01-01T00:00:00Z"
    owner.send([owner.event("upload", "v1", at, id="e2"), owner.event("trash", "v1", at, id="e1")])
    count()
    with app.app_context():
        # By id the trash came before the upload and was for nothing.
        db.session.execute(
            update(Counter).values(
                active_file_versions=1, active_bytes=100, trash_file_versions=0, trash_bytes=0
            )
        )
        db.session.commit()
        assert len(counting.recount(project_key(owner.project))) == 4
        assert counting.recount(project_key(owner.project)) == []
    assert owner.held() == (0, 0, 1, 100)


def test_lists_in_any_order_and_twice_leave_the_same_rows(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    chance = random.Random(7)
    tape = owner.make_provider("tape")
    events = []
    for number in range(60):
        day = f"2025-{chance.randint(1, 6):02d}-{chance.randint(1, 28):02d}T10:00:00Z"
        kind = chance.choice(["upload", "upload", "trash", "restore", "purge"])
        more = (
            {
                "bytes": 10**number % 977,
                "storage_provider_id": chance.choice([owner.provider, tape]),
            }
            if kind == "upload"
            else {}
        )
        events.append(owner.event(kind, f"v{chance.randint(1, 9)}", day, **more))
    projects = [owner.project, owner.make_project("Shuffled")]
    owner.send(sorted(events, key=lambda one: one["at"]), projects[0])
    count()
    mixed = events + chance.sample(events, 30)
    chance.shuffle(mixed)
    for first in range(0, len(mixed), 7):
        owner.send(mixed[first : first + 7], projects[1])
        if chance.random() < 0.6:
            count()
    count()
    assert owner.held(projects[0]) == owner.held(projects[1])
    assert sum(owner.held()) > 0
    with app.app_context():
        keys = [project_key(project) for project in projects]
        for table in (Counter, StorageMonth):
            first, second = (rows_of(table, key) for key in keys)
            assert first == second
        assert list(counting.recount_all(repair=False)) == [(keys[0], []), (keys[1], [])]


LARGEST = 2**63 - 1


@pytest.mark.parametrize("purged", [0, 1])
def test_a_counter_that_reached_64_bits_comes_back_exactly(
    app: Flask, owner: Storage, count: Callable[[], int], purged: int
) -> None:
    at = ["2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", "2025-01-03T00:00:00Z"]
    sizes = [LARGEST, LARGEST - 7]
    events = [owner.event("upload", f"v{n}", at[n], bytes=sizes[n]) for n in (0, 1)]
    projects = [owner.project, owner.make_project("At once")]
    for event in events:
        owner.send([event])
        count()
    assert owner.held() == (2, LARGEST, 0, 0)
    events.append(owner.event("purge", f"v{purged}", at[2]))
    owner.send([events[2]])
    count()
    owner.send(events, projects[1])
    count()
    assert owner.held() == owner.held(projects[1]) == (1, sizes[1 - purged], 0, 0)
    owner.send([owner.event("trash", f"v{1 - purged}", at[2])])
    count()
    assert owner.held() == (0, 0, 1, sizes[1 - purged])
    with app.app_context():
        assert counting.recount(project_key(owner.project), repair=False) == []
