"""Loading: formats found out, bad rows named, all or nothing, the same again, and undone."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from label_revenue_files import FILES, SAMPLE
from sqlalchemy import func, select

from webapp.accounts import Scope
from webapp.engine import retention, service
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.intake import LoadRefused, Row
from webapp.kinds.label_revenue import loads, sums
from webapp.kinds.label_revenue.in_force import recount
from webapp.kinds.label_revenue.ledger import batches, months_with_streams
from webapp.kinds.label_revenue.models import Stream
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.rows import Options, Source, Unanswered
from webapp.kinds.label_revenue.uploads import RowCheck
from webapp.lib.months import current_month

MARCH = date(2025, 3, 1)
HEAD = "date;user_id;region;track id;seconds\n"
USERS = "user_id;product_type;fee;origin\n1;premium;10,00;web\n2;premium;10,00;web\n"
TRACKS = '[{"track_id": "A", "label": "One"}, {"track_id": "B", "label": "Two"}]'
STREAMS = HEAD + "13/03/2025;1;NL;A;100\n13/03/2025;2;NL;B;300"


def paid(app: Flask, scope: Scope, month: date = MARCH, method: Any = "pool") -> dict[str, int]:
    with app.app_context():
        found = payouts.payer(scope.company_id, method).month(month)
        return {key.name: minor for key, minor in found.owed()}


def proved(app: Flask, scope: Scope) -> bool:
    with app.app_context():
        return not recount(scope.company_id)


def test_the_three_files_make_a_batch(app: Flask, scope: Scope, load_texts: Any) -> None:
    loaded = load_texts(users=USERS, streams=STREAMS, tracks=TRACKS)
    assert (loaded.batch.streams, loaded.batch.listeners, loaded.batch.tracks) == (2, 2, 2)
    assert paid(app, scope) == {"One": 450, "Two": 1350}
    assert proved(app, scope)


def test_an_ambiguous_date_order_is_asked_about_and_never_guessed(
    app: Flask, scope: Scope, load_texts: Any
) -> None:
    streams = HEAD + "03/04/2025;1;NL;A;100"
    with pytest.raises(Unanswered, match="dmy"):
        load_texts(users=USERS, streams=streams, tracks=TRACKS)
    with app.app_context():
        assert batches(scope.company_id) == []
    load_texts(users=USERS, streams=streams, tracks=TRACKS, date_order="mdy")
    with app.app_context():
        assert months_with_streams(scope.company_id) == [date(2025, 3, 1)]


def test_bad_rows_are_named_by_file_line_and_column_and_nothing_is_loaded(
    app: Flask, scope: Scope, load_texts: Any
) -> None:
    streams = STREAMS + "\n31/02/2025;1;NL;A;100\n14/03/2025;x;NL;A;100\n14/03/2025;1;NL"
    users = USERS + "3;premium;much;web\n4;premium;1,00;radio\n"
    with pytest.raises(LoadRefused) as refused:
        load_texts(users=users, streams=streams, tracks='[{"label": "One"}]')
    assert list(refused.value.errors) == [
        "streaming.csv, line 4, column date",
        "streaming.csv, line 5, column user_id",
        "streaming.csv, line 6",
        "users.csv, line 4, column fee",
        "users.csv, line 5, column origin",
        "tracks.json, line 1, column track_id",
    ]
    with app.app_context():
        assert batches(scope.company_id) == []
        assert months_with_streams(scope.company_id) == []


def test_skip_bad_loads_the_rest_and_writes_the_rejected_rows(
    app: Flask, scope: Scope, load_texts: Any, tmp_path: Path
) -> None:
    rejected = tmp_path / "rejected.csv"
    streams = STREAMS + "\n14/03/2025;=x;NL;A;100"
    loaded = load_texts(
        users=USERS, streams=streams, tracks=TRACKS, skip_bad=True, rejected=rejected
    )
    assert (loaded.batch.streams, loaded.batch.rejected) == (2, 1)
    with rejected.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["file"], row["line"], row["column"]) == ("streaming.csv", "4", "user_id")
    assert row["row"] == "14/03/2025;=x;NL;A;100"


def test_a_missing_column_is_said(load_texts: Any) -> None:
    with pytest.raises(LoadRefused, match="1 row cannot") as refused:
        load_texts(streams="date;user_id;region;seconds\n13/03/2025;1;NL;5")
    assert "track id" in next(iter(refused.value.errors.values()))


@pytest.mark.parametrize("tracks", ["{}", '[{"track_id": "A"}', "[1 2]", '[{"a"}]', "[] x", ""])
def test_broken_json_is_refused(load_texts: Any, tracks: str) -> None:
    with pytest.raises(LoadRefused):
        load_texts(tracks=tracks)


def test_the_same_files_again_change_nothing(
    app: Flask, scope: Scope, sample: str, load_texts: Any
) -> None:
    before = paid(app, scope)
    texts = {role: (SAMPLE / name).read_bytes() for role, name in FILES.items()}
    again = load_texts(**texts)
    assert (again.is_new, again.batch.id) == (False, sample)
    changed = load_texts(streams=texts["streams"], users=USERS)
    assert changed.batch.streams == 0
    assert "8 of the streams of streaming.csv were loaded before" in changed.notes[0]
    assert paid(app, scope) != before


def test_a_row_twice_is_reported_and_counts(load_texts: Any) -> None:
    loaded = load_texts(streams=HEAD + "13/03/2025;1;NL;A;100\n13/03/2025;1;NL;A;100")
    assert loaded.batch.streams == 2
    assert "streaming.csv, line 3: same as line 2." in loaded.batch.warnings


def test_a_listener_twice_with_other_terms_is_refused(load_texts: Any) -> None:
    with pytest.raises(LoadRefused) as refused:
        load_texts(users=USERS + "1;premium;12,00;web\n")
    assert list(refused.value.errors) == ["users.csv, line 4, column user_id"]


def test_odd_streams_are_loaded_with_a_warning(app: Flask, scope: Scope, load_texts: Any) -> None:
    rows = ["13/03/2025;1;NL;A;0", "13/03/2025;1;NL;A;-5", "13/03/2999;1;NL;A;5"]
    rows += ["14/03/2025;2;NL;A;86000", "14/03/2025;2;NL;B;500"]
    loaded = load_texts(users=USERS, streams=HEAD + "\n".join(rows), tracks=TRACKS)
    text = " ".join(loaded.batch.warnings)
    for word in ("2 streams with zero or negative seconds", "future", "more than 24 hours"):
        assert word in text
    assert paid(app, scope) == {"One": 1790, "Two": 10}
    assert proved(app, scope)


def test_undoing_a_batch_brings_back_what_was(app: Flask, scope: Scope, load_texts: Any) -> None:
    load_texts(users=USERS, streams=STREAMS, tracks=TRACKS)
    before = paid(app, scope)
    second = load_texts(
        users="user_id;product_type;fee;origin\n1;premium;50,00;web",
        streams=HEAD + "15/03/2025;1;NL;B;400",
        tracks='[{"track_id": "A", "label": "Three"}]',
    )
    assert set(paid(app, scope)) == {"Two", "Three"}
    assert proved(app, scope)
    with app.app_context():
        loads.unload(scope.company_id, second.batch.id)
        with pytest.raises(NotFound):
            loads.unload(scope.company_id, second.batch.id)
    assert paid(app, scope) == before
    assert proved(app, scope)
    again = load_texts(streams=HEAD + "15/03/2025;1;NL;B;400")
    assert again.is_new


def test_a_label_told_later_gets_what_was_streamed_before(
    app: Flask, scope: Scope, load_texts: Any
) -> None:
    load_texts(users=USERS, streams=STREAMS)
    assert paid(app, scope) == {"Track without a label": 1800}
    load_texts(tracks=TRACKS)
    assert paid(app, scope) == {"One": 450, "Two": 1350}
    assert proved(app, scope)


def test_new_terms_hold_from_the_month_they_come_with(
    app: Flask, scope: Scope, load_texts: Any
) -> None:
    load_texts(users=USERS, streams=STREAMS, tracks=TRACKS)
    load_texts(
        users="user_id;product_type;fee;origin\n1;premium;20,00;web\n3;premium;5,00;app_store",
        streams=HEAD + "13/05/2025;2;NL;A;100",
    )
    assert sum(paid(app, scope).values()) == 1800
    assert sum(paid(app, scope, date(2025, 5, 1)).values()) == 1800 + 900 + 350


def test_money_without_an_owner_is_a_line_of_its_own(
    app: Flask, scope: Scope, load_texts: Any
) -> None:
    streams = HEAD + "13/03/2025;1;NL;A;100\n13/03/2025;9;NL;A;50\n13/03/2025;1;NL;Z;50"
    load_texts(users=USERS, streams=streams, tracks=TRACKS)
    assert paid(app, scope) == {
        "One": 900,
        "Stream of an unknown listener": 450,
        "Track without a label": 450,
    }
    assert paid(app, scope, method="listener") == {
        "One": 600,
        "Listener without streams": 900,
        "Stream of an unknown listener": 0,
        "Track without a label": 300,
    }


def test_the_example_of_the_handbook_is_true(app: Flask, scope: Scope, sample: str) -> None:
    assert paid(app, scope) == {
        "Harbour Classics": 2050,
        "Linden Records": 1480,
        "Quiet Street": 911,
        "Track without a label": 114,
    }
    assert paid(app, scope, method="listener") == {
        "Harbour Classics": 1638,
        "Linden Records": 1538,
        "Quiet Street": 540,
        "Listener without streams": 719,
        "Track without a label": 120,
    }


def test_recount_finds_and_rights_a_sum_that_is_wrong(
    app: Flask, scope: Scope, sample: str
) -> None:
    before = paid(app, scope)
    with app.app_context():
        from webapp.extensions import db
        from webapp.kinds.label_revenue.models import LabelMonth

        db.session.query(LabelMonth).update({"seconds": 1})
        db.session.commit()
        assert [table for table, _ in recount(scope.company_id)] == ["label_revenue_label_month"]
        assert recount(scope.company_id) == []
    assert paid(app, scope) == before


def test_a_corrected_users_file_says_from_when_it_holds_and_may_name_the_month(
    app: Flask, scope: Scope, load_texts: Any
) -> None:
    load_texts(users=USERS, streams=STREAMS, tracks=TRACKS)
    dearer = USERS.replace("10,00", "20,00")
    alone = load_texts(users=dearer)
    assert alone.notes == ["The terms of users.csv hold from 2025-04 on."]
    assert sum(paid(app, scope).values()) == 1800
    named = load_texts(users=dearer, from_month=MARCH)
    assert named.notes == ["The terms of users.csv hold from 2025-03 on."]
    assert sum(paid(app, scope).values()) == 3600
    assert not load_texts(users=dearer, from_month=MARCH).is_new


def test_recount_marks_the_months_it_adds_up_first(app: Flask, scope: Scope, sample: str) -> None:
    with app.app_context():
        from sqlalchemy import true

        from webapp.extensions import db
        from webapp.kinds.label_revenue.ledger import accounting_period, unit_of_work

        with unit_of_work(scope.company_id) as work:
            sums.aggregate(work, [true()], -1)
            [batch] = batches(scope.company_id)
            batch.summed = False
        period = accounting_period(scope.company_id, MARCH)
        before = period.revision if period else 0
        assert recount(scope.company_id) == []
        period = accounting_period(scope.company_id, MARCH)
        assert period is not None
        assert period.revision > before
        db.session.commit()
        assert recount(scope.company_id) == []
        again = accounting_period(scope.company_id, MARCH)
        assert again is not None
        assert again.revision == before + 1


def test_every_file_tells_how_far_it_is(app: Flask, scope: Scope) -> None:
    told: dict[str, tuple[int, int]] = {}

    def progress(what: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        told[what] = (done, total)

    sources: Any = {role: Source(SAMPLE / name, name) for role, name in FILES.items()}
    with app.app_context():
        loads.load(scope.company_id, sources, Options(), progress=progress)
    assert set(told) == {"streams", "users", "tracks", "sums"}
    for role in FILES:
        assert told[role][0] > told[role][1] / 2


def test_forgotten_streams_leave_their_sums_and_nothing_changes_them_any_more(
    app: Flask, scope: Scope, sample: str, load_texts: Any
) -> None:
    with app.app_context():
        before = {model: _sums_of(model) for model, _ in sums.SUMS}
        app.config["STREAMS_KEPT_MONTHS"] = 6
        retention.forget(service.kinds()["label-revenue"], lambda: None)
        assert db.session.scalar(select(func.count()).select_from(Stream)) == 0
        assert recount(scope.company_id) == []
        assert {model: _sums_of(model) for model, _ in sums.SUMS} == before
        with pytest.raises(Conflict, match="cannot be undone"):
            loads.unload(scope.company_id, sample)
    old = HEAD + "14/03/2025;1;NL;T-501;20\n"
    with pytest.raises(LoadRefused) as refused:
        load_texts(streams=old)
    assert "not kept any more" in refused.value.problems[0].sentence
    with app.app_context():
        check = RowCheck(scope.company_id, "streams", {}, {})
        assert check(Row(2, {"date": date(2025, 3, 14)}, {}, ())).keys() == {"date"}
    new = f"{current_month():%d/%m/%Y};1;NL;T-501;20\n"
    loaded = load_texts(streams=old + new, skip_bad=True)
    assert (loaded.batch.streams, loaded.batch.rejected) == (1, 1)


def _sums_of(model: Any) -> list[Any]:
    return sorted(map(tuple, db.session.execute(select(model.__table__))))
