"""What holds follows from the loads that stand and their order, never from what was undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from webapp.accounts import Scope
from webapp.extensions import db
from webapp.intake import LoadRefused
from webapp.kinds.label_revenue import bulk, loads
from webapp.kinds.label_revenue.in_force import recount
from webapp.kinds.label_revenue.models import MonthSettings, Stream, TermsInForce
from webapp.kinds.label_revenue.periods import DEFAULT_SHARES
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.compute import Key, Pair, listener_payout, pool_payout
from webapp.kinds.label_revenue.rows import Unanswered

JAN, FEB, MAR = date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)
HEAD = "date;user_id;region;track id;seconds\n"
TRACKS = '[{"track_id":"A","label":"Alpha"},{"track_id":"B","label":"Beta"}]'


def users(fee: str) -> str:
    return f"user_id;product_type;fee;origin\n1;p;{fee};web\n2;p;{fee};web\n"


def streams(day: str, end: str = "\n") -> bytes:
    rows = [HEAD.strip(), f"{day};1;NL;A;100", f"{day};2;NL;B;100"]
    return (end.join(rows) + end).encode()


JANUARY = {"users": users("10,00"), "streams": streams("2025-01-13"), "tracks": TRACKS}
FEBRUARY = {
    "users": users("10,00") + "\n",
    "streams": streams("2025-02-13"),
    "tracks": TRACKS + "\n",
}


@pytest.fixture
def paid(app: Flask, scope: Scope) -> Callable[..., dict[str, int]]:
    def pay(month: date, method: Any = "pool") -> dict[str, int]:
        with app.app_context():
            found = payouts.payer(scope.company_id, method).month(month)
            return {key.name: minor for key, minor in found.owed()}

    return pay


@pytest.fixture
def undo(app: Flask, scope: Scope) -> Callable[..., None]:
    def unload(loaded: Any) -> None:
        with app.app_context():
            loads.unload(scope.company_id, loaded.batch.id)

    return unload


def test_what_a_later_load_also_said_stands_when_the_first_is_undone(
    load_texts: Any, paid: Any, undo: Any
) -> None:
    first = load_texts(**JANUARY)
    load_texts(**FEBRUARY)
    undo(first)
    assert paid(JAN) == {}
    assert paid(FEB) == {"Alpha": 900, "Beta": 900}
    assert not load_texts(**FEBRUARY).is_new
    assert paid(FEB) == {"Alpha": 900, "Beta": 900}
    load_texts(**JANUARY)
    assert paid(JAN) == {"Alpha": 900, "Beta": 900}


def test_a_correction_of_one_month_ends_where_a_later_file_begins(
    load_texts: Any, paid: Any
) -> None:
    load_texts(**JANUARY)
    load_texts(**FEBRUARY)
    load_texts(users=users("4,00"), from_month=JAN)
    assert paid(JAN) == {"Alpha": 360, "Beta": 360}
    assert paid(FEB) == {"Alpha": 900, "Beta": 900}


def test_months_loaded_in_the_wrong_order_keep_their_own_fees(load_texts: Any, paid: Any) -> None:
    load_texts(users=users("11,00"), streams=streams("2025-02-13"), tracks=TRACKS)
    load_texts(**JANUARY)
    assert paid(FEB) == {"Alpha": 990, "Beta": 990}
    assert paid(JAN) == {"Alpha": 900, "Beta": 900}


def test_a_track_has_the_label_of_its_month(app: Flask, load_texts: Any, paid: Any) -> None:
    load_texts(**JANUARY)
    load_texts(**FEBRUARY | {"tracks": TRACKS.replace("Beta", "Gamma")})
    assert (paid(JAN), paid(FEB)) == ({"Alpha": 900, "Beta": 900}, {"Alpha": 900, "Gamma": 900})


def test_the_same_streams_saved_by_another_program_count_once(
    app: Flask, scope: Scope, load_texts: Any, paid: Any, undo: Any
) -> None:
    first = load_texts(**FEBRUARY)
    again = load_texts(streams=streams("2025-02-13", "\r\n"))
    assert (again.is_new, again.batch.streams, again.batch.repeated) == (True, 0, 2)
    assert "2 of the streams of streaming.csv were loaded before" in again.notes[0]
    assert seconds(app, scope) == 200
    kept = load_texts(streams=streams("2025-02-13", "\n\n"), repeated="keep")
    assert (kept.batch.streams, seconds(app, scope)) == (2, 400)
    undo(kept)
    undo(first)
    # The second load said them, too.
    assert seconds(app, scope) == 200
    undo(again)
    assert seconds(app, scope) == 0


def test_a_stream_counts_as_often_as_one_file_says_it(
    app: Flask, scope: Scope, load_texts: Any, undo: Any
) -> None:
    row = "2025-02-13;1;NL;A;100\n"
    first = load_texts(streams=HEAD + row * 2)
    second = load_texts(streams=HEAD + row * 3)
    assert (second.batch.streams, second.batch.repeated) == (1, 2)
    undo(first)
    assert seconds(app, scope) == 300


def test_what_a_program_sent_later_is_no_reason_to_leave_a_stream_out(
    app: Flask, scope: Scope, load_texts: Any, undo: Any, api_for: Any
) -> None:
    api = api_for("owner")
    sent = {"date": "2025-02-13", "user_id": 1, "region": "NL", "track_id": "A", "seconds": 100}
    assert api.post("/streams", sent | {"seconds": 1}).status_code == 201
    row = HEAD + "2025-02-13;1;NL;A;100\n"
    first, again = load_texts(streams=row), load_texts(streams=row + "\n")
    assert (again.batch.streams, again.batch.repeated) == (0, 1)
    assert api.post("/streams", sent).status_code == 201
    # As if the first had not been: the second counts, and what came after it does.
    undo(first)
    assert seconds(app, scope) == 201


def seconds(app: Flask, scope: Scope) -> int:
    with app.app_context():
        found = sum(
            line.seconds for line in payouts.payer(scope.company_id, "pool").month(FEB).payout.lines
        )
        assert recount(scope.company_id) == []
        return found


def test_a_fee_has_no_more_digits_than_its_currency(
    app: Flask, scope: Scope, load_texts: Any
) -> None:
    idr = "user_id;product_type;fee;origin\n5001;p;54.990;web\n"
    with pytest.raises(Unanswered, match="54990"):
        load_texts(users=idr)
    with pytest.raises(LoadRefused) as refused:
        load_texts(users=idr, decimal_mark=".")
    assert "which has 2 decimals" in next(iter(refused.value.errors.values()))
    load_texts(users=idr, decimal_mark=",")
    with app.app_context():
        assert db.session.scalars(select(TermsInForce.fee)).all() == ["54990"]
        yen = {"from_month": date(1970, 1, 1), "shares": DEFAULT_SHARES, "currency": "JPY"}
        db.session.add(MonthSettings(company_id=scope.company_id, **yen))
        db.session.commit()
    # A whole number has no decimals, whatever the mark of others.
    assert load_texts(users=users("540")).batch.listeners == 2
    assert load_texts(users=users("1.540"), decimal_mark=",").batch.listeners == 2


# Rows as long as rows may be: what is told of a large file is its size, and not how many they are.
@pytest.mark.parametrize("size", [1, bulk.BULK_BYTES // 200])
def test_one_file_has_one_result_whatever_its_size(
    app: Flask, scope: Scope, load_texts: Any, size: int
) -> None:
    long = "A" * 100
    rows = "2025-02-13;1;NL;A\u00a0 B;100\n" + f"2025-02-13;1;{long};{long};1\n" * size
    load_texts(streams=HEAD + rows)
    with app.app_context():
        found = set(db.session.scalars(select(Stream.track_id).distinct()))
    assert found == {"A B", long}


def test_labels_that_look_alike_are_told(load_texts: Any) -> None:
    load_texts(tracks='[{"track_id":"A","label":"Caf\u00e9"}]')
    loaded = load_texts(tracks='[{"track_id":"B","label":"cafe\u0301"}]')
    assert any("differ only in case" in note for note in loaded.notes)


def test_a_header_without_rows_is_said(load_texts: Any) -> None:
    loaded = load_texts(streams=HEAD)
    assert loaded.notes == ["streaming.csv holds a header and no rows."]
    assert loaded.summary.endswith("0 rows rejected.")


def test_a_month_says_what_it_needs_and_where_terms_come_from(
    load_texts: Any, client_for: Any
) -> None:
    load_texts(**JANUARY)
    rows = "2025-02-13;1;NL;A;100\n2025-02-13;9;NL;Z;50\n"
    load_texts(streams=HEAD + rows)
    load_texts(streams=HEAD + rows + "\n")
    viewer = client_for("viewer")
    page = viewer.get("/label-revenue/months/2025-02").text
    for words in (
        "No users file names 1 listener who streamed: they pay nothing. First of them: 9.",
        "Without a label: 1 stream. Nobody gets the money of their tracks. First of them: Z.",
        "There is no users file for this month: the fees of 2025-01 apply.",
        "Of a load, 2 streams were loaded before: skipped.",
    ):
        assert words in page
    assert "Nothing: every stream has a label" in viewer.get("/label-revenue/months/2025-01").text
    load_texts(users=users("4,00"), from_month=FEB)
    for month, fee in (("2025-01", "pays 10 EUR"), ("2025-02", "pays 4 EUR")):
        page = viewer.get(f"/label-revenue/months/{month}?listener=1").text
        assert fee in page
        assert f"which holds from {month} on" in page
    assert "names listener 7" in viewer.get("/label-revenue/months/2025-02?listener=7").text


# The same file as spreadsheets and other programs write it.


# Random worlds: what files say, in any order, loaded, undone and loaded again.

MONTHS = (JAN, FEB, MAR)
LOAD = st.fixed_dictionaries(
    {
        "month": st.sampled_from([None, *MONTHS]),
        "users": st.dictionaries(st.integers(1, 3), st.sampled_from(["4.00", "7.99"]), max_size=3),
        "tracks": st.dictionaries(
            st.sampled_from("AB"), st.sampled_from([None, "One", "Two"]), max_size=2
        ),
        "streams": st.lists(
            st.tuples(st.sampled_from(MONTHS), st.integers(1, 3), st.sampled_from("AB")), max_size=4
        ),
        "repeated": st.sampled_from(["skip", "skip", "keep"]),
    }
).filter(lambda one: one["users"] or one["tracks"] or one["streams"])
STEPS = st.lists(st.tuples(LOAD, st.lists(st.integers(0, 9), max_size=2)), min_size=1, max_size=5)
Said = dict[str, Any]


def texts(said: Said, number: int) -> dict[str, Any]:
    """Return a load's files; no two loads are the same bytes."""
    found: dict[str, Any] = {"from_month": said["month"], "repeated": said["repeated"]}
    end = "\n" * (number + 1)
    if said["users"]:
        rows = "".join(f"{user};p;{fee};web\n" for user, fee in said["users"].items())
        found["users"] = "user_id;product_type;fee;origin\n" + rows + end
    if said["tracks"]:
        rows = ",".join(
            f'{{"track_id":"{track}","label":{"null" if label is None else repr(label)}}}'
            for track, label in said["tracks"].items()
        )
        found["tracks"] = f"[{rows}]{end}".replace("'", '"')
    if said["streams"]:
        rows = "".join(f"{day};{user};NL;{track};60\n" for day, user, track in said["streams"])
        found["streams"] = HEAD + rows + end
    return found


def following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def held(by_month: dict[date, Any], month: date) -> Any:
    """Return what holds in a month of what was said by month; before the first, the first."""
    return by_month[max((one for one in by_month if one <= month), default=min(by_month))]


def model(standing: list[Said], month: date, method: str) -> dict[str, int]:
    """Return what a month pays, from the standing loads alone and without a database."""
    terms: dict[int, dict[date, str]] = {}
    labels: dict[str, dict[date, str | None]] = {}
    heard: Counter[tuple[date, int, str]] = Counter()
    newest: date | None = None
    for load in standing:
        months = [day for day, _, _ in load["streams"]]
        after = following(newest) if newest else date(1970, 1, 1)
        own = load["month"] or min(months, default=after)
        newest = max(filter(None, [newest, *months]), default=None)
        for user, fee in load["users"].items():
            terms.setdefault(user, {})[own] = fee
        for track, label in load["tracks"].items():
            labels.setdefault(track, {})[own] = label
        for stream, times in Counter(load["streams"]).items():
            kept = load["repeated"] == "keep"
            heard[stream] = heard[stream] + times if kept else max(heard[stream], times)
    own_seconds: Counter[int] = Counter()
    pairs: Counter[tuple[int, Key]] = Counter()
    for (when, user, track), times in heard.items():
        if when == month:
            label = held(labels[track], month) if track in labels else None
            key = Key(True, label) if label else Key(False, "Track without a label")
            pairs[user, key] += 60 * times
            own_seconds[user] += 60 * times
    if not pairs:
        return {}
    nets = {
        user: Fraction(Decimal(held(said, month))) * 90
        for user, said in terms.items()
        if min(said) <= month or own_seconds[user]
    }
    unknown = sum(count for (user, _), count in pairs.items() if user not in terms)
    by_label: Counter[Key] = Counter()
    for (user, key), count in pairs.items():
        by_label[key if user in terms else Key(False, "Stream of an unknown listener")] += count
    if method == "pool":
        payout = pool_payout(sum(nets.values(), Fraction(0)), by_label)
    else:
        known = [
            Pair(nets[user], own_seconds[user], key, count)
            for (user, key), count in pairs.items()
            if user in nets
        ]
        idle = sum((net for user, net in nets.items() if not own_seconds[user]), Fraction(0))
        total = sum(nets.values(), Fraction(0))
        payout = listener_payout(total, idle, lambda: known, unknown)
    return {line.key.name: line.minor for line in payout.lines}


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_any_order_of_load_and_undo_gives_what_the_standing_loads_say(
    app: Flask, scope: Scope, load_texts: Any, paid: Any, undo: Any, steps: Any
) -> None:
    standing: list[tuple[Said, Any]] = []
    for number, (said, undone) in enumerate(steps):
        standing.append((said, load_texts(**texts(said, number))))
        for place in undone:
            if place < len(standing):
                undo(standing.pop(place)[1])
        saids = [one for one, _ in standing]
        for month in MONTHS:
            for method in ("pool", "listener"):
                assert paid(month, method) == model(saids, month, method), (month, method)
    with app.app_context():
        assert recount(scope.company_id) == []
        db.session.remove()
    for _, loaded in standing:
        undo(loaded)
