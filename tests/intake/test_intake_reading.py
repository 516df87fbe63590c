"""CSV files as programs write them: read as they are meant, asked about, or refused."""

from __future__ import annotations

import csv
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_helpers import FIELDS, kept

from webapp.intake import (
    BadFile,
    Choices,
    Field,
    Problem,
    Rejects,
    Role,
    detect,
    heading_key,
    json_items,
    look_at,
    read_date,
    read_number,
    read_rows,
    round_places,
)

HEAD = "day;who;amount;note\n"
ROW = "13/03/2025;1;7,99;first\n"


def values(path: Path, choices: Choices = Choices()) -> list[dict[str, object]]:  # noqa: B008
    return [row.values for row in read_rows(path, detect(path, FIELDS, choices), FIELDS)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("before", ["", "sep={}\r\n", "A report\r\n\r\nof{0} 2025{0}\r\n"])
def test_encodings_separators_and_titles_are_found_out(
    tmp_path: Path, encoding: str, separator: str, before: str
) -> None:
    text = before.format(separator) + (HEAD + ROW).replace(";", separator).replace("\n", "\r\n")
    path = kept(tmp_path, text.encode(encoding))
    found = detect(path, FIELDS)
    assert (found.separator, found.date_order, found.decimal_mark) == (separator, "dmy", ",")
    assert found.preview[0] == ("13/03/2025", "1", "7,99", "first")
    [row] = read_rows(path, found, FIELDS)
    assert row.line == text.count("\n")
    assert row.values == {
        "day": date(2025, 3, 13),
        "who": "1",
        "amount": Decimal("7.99"),
        "note": "first",
    }


def test_headings_mean_the_same_in_other_writings_and_languages(tmp_path: Path) -> None:
    assert heading_key("Emission factor (kg CO2e)") == heading_key("emissionFactor")
    path = kept(tmp_path, "DATUM,USERID,Quantité (kg),Shop\n2025-03-13,1,5,X\n")
    assert detect(path, FIELDS).columns == ("day", "who", "amount", None)


def test_a_row_of_data_is_no_header_because_it_holds_a_field_s_name(tmp_path: Path) -> None:
    path = kept(tmp_path, "jour;client;montant;texte\n13/03/2025;1;7,99;note\n")
    assert detect(path, FIELDS, may_ask=True).header == ("jour", "client", "montant", "texte")


def test_a_word_of_two_fields_means_the_one_that_no_other_heading_names(tmp_path: Path) -> None:
    fields = (
        Field("site", "site", words=("unit", "plant")),
        Field("measure", "measure", required=False, words=("unit",)),
    )
    for header, columns in (
        ("Plant,Unit", ("site", "measure")),
        ("Unit,Measure", ("site", "measure")),
        ("Unit,Note", ("site", None)),
    ):
        assert detect(kept(tmp_path, f"{header}\nAcme,kWh\n"), fields).columns == columns


def test_windows_1252_is_asked_about_with_the_letters_in_doubt(tmp_path: Path) -> None:
    path = kept(tmp_path, (HEAD + "13/03/2025;1;5;Düss of Zürich\n").encode("cp1252"))
    [question] = detect(path, FIELDS).questions
    assert question.name == "encoding"
    assert question.examples == ("Düss", "Zürich")
    assert values(path, Choices(encoding="cp1252"))[0]["note"] == "Düss of Zürich"


def test_letters_far_down_a_large_file_are_found(tmp_path: Path) -> None:
    lines = HEAD.encode() + b"2025-03-13;1;5;plain\n" * 60_000 + b"2025-03-13;1;5;D\xfcss\n"
    [question] = detect(kept(tmp_path, lines), FIELDS).questions
    assert question.examples == ("Düss",)


def test_what_is_no_text_in_either_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="utf-8"):
        detect(kept(tmp_path, HEAD.encode() + b"\x81\x8d\xff"), FIELDS)


@pytest.mark.parametrize(
    ("amounts", "mark"),
    [
        (("7,99",), ","),
        (("7.99",), "."),
        (("8",), "."),
        (("1.234", "7,5"), ","),
        (("1.234,50",), ","),
        (("1.234.567",), ","),
        (("7..9", "1,2,3", "7.99"), "."),
        (("216\N{RIGHT SINGLE QUOTATION MARK}579,52",), ","),
        (("1,234E+05",), ","),
        (("0.182",), "."),
        (("3.3000000000000003",), "."),
    ],
)
def test_the_decimal_mark_is_found_out(tmp_path: Path, amounts: tuple[str, ...], mark: str) -> None:
    rows = "".join(f"2025-03-13;1;{amount};\n" for amount in amounts)
    found = detect(kept(tmp_path, HEAD + rows), FIELDS)
    assert (found.decimal_mark, found.questions) == (mark, ())


def test_thousands_or_decimals_are_asked_about_and_read_as_said(tmp_path: Path) -> None:
    path = kept(tmp_path, HEAD + "2025-03-13;1;54.990;\n")
    [question] = detect(path, FIELDS).questions
    assert (question.name, question.examples) == ("decimal_mark", ("54.990",))
    assert values(path, Choices(decimal_mark=","))[0]["amount"] == Decimal(54990)
    assert values(path, Choices(decimal_mark="."))[0]["amount"] == Decimal("54.99")


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("7,99", ",", "7.99"),
        ("1.234,50", ",", "1234.5"),
        ("1 234,50", ",", "1234.5"),
        ("1'234.50", ".", "1234.5"),
        ("1.234.567", ",", "1234567"),
        ("7.9,9", ",", None),
        ("7 9,9", ",", None),
        ("1.234 567", ",", None),
        ("1 234.50", ".", "1234.5"),
        ("1,234.50", ".", "1234.5"),
        ("1,23", ".", None),
        ("-0.5", ".", "-0.5"),
        ("(1.234,50)", ",", "-1234.5"),
        ("5,00-", ",", "-5"),
        ("(-5)", ".", None),
        ("1e-05", ".", "0.00001"),
        ("nan", ".", None),
        ("", ".", None),
    ],
)
def test_a_number_is_read_as_it_is_meant_or_not_at_all(
    text: str, mark: str, number: str | None
) -> None:
    if number is not None:
        assert read_number(text, mark) == Decimal(number)
    else:
        with pytest.raises(ValueError, match=r"not a number|where other numbers"):
            read_number(text, mark)


@pytest.mark.parametrize(
    ("written", "kept_number"),
    [
        ("3.3000000000000003", "3.3"),
        ("3.3333333333333335", "3.333333333333"),
        ("1e-20", "0"),
        ("0.0000000000015", "0.000000000002"),
        ("999999999999999999", "999999999999999999"),
    ],
)
def test_a_number_is_rounded_to_what_its_column_keeps(written: str, kept_number: str) -> None:
    assert round_places(Decimal(written), 18, 12) == Decimal(kept_number)


@pytest.mark.parametrize("written", ["1e18", "1e999999999", "999999999999999999.9999999999999"])
def test_digits_before_the_point_have_to_fit(written: str) -> None:
    with pytest.raises(ValueError, match="at most 18 digits"):
        round_places(Decimal(written), 18, 12)


def test_an_ambiguous_date_order_is_asked_about(tmp_path: Path) -> None:
    path = kept(tmp_path, HEAD + "03/04/2025;1;5;\n")
    assert detect(path, FIELDS).ambiguous
    assert values(path, Choices(date_order="mdy"))[0]["day"] == date(2025, 3, 4)


@settings(max_examples=50)
@given(st.dates(date(1970, 1, 1), date(2100, 12, 31)))
def test_a_date_comes_back_in_every_order(day: date) -> None:
    assert read_date(f"{day:%d/%m/%Y}", "dmy") == day
    assert read_date(f"{day:%d.%m.%Y} 00:00:00", "dmy") == day
    assert read_date(f"{day:%m/%d/%Y}", "mdy") == day
    assert read_date(f"{day:%Y/%m/%d}", "ymd") == day
    assert read_date(day.isoformat(), "dmy") == day
    assert read_date(f"{day.isoformat()}T00:00:00Z", "dmy") == day
    assert read_date(f"{day:%m/%d/%Y} 12:00:00 AM", "mdy") == day
    assert read_date(f"{day:%Y%m%d}", "dmy") == day
    for moment in (f"{day} 14:05:06.123+00", f"{day} 14:05:06 UTC", f"{day}T14:05:06,5-0330"):
        assert read_date(moment, "dmy", cut_time=True) == day


@pytest.mark.parametrize("text", ["32/04/2025", "1735689600", "45658", "2025-02-30", "1/1/25", ""])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        read_date(text, "dmy")


def test_rows_with_nothing_in_them_are_skipped_and_trailing_separators_too(
    tmp_path: Path,
) -> None:
    path = kept(tmp_path, HEAD + "2025-03-13;1;5;x;;\n;;;\n\n ; ;;\n2025-03-13;2;5\n")
    rows = list(read_rows(path, detect(path, FIELDS), FIELDS))
    assert [(row.line, row.values["who"], row.errors) for row in rows] == [
        (2, "1", {}),
        (6, "2", {}),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("day;who;amount;amount\n2025-03-13;1;5;5\n", "amount twice; choose one of these columns"),
        (f'{HEAD}2025-03-13;1;5;"a"b\n', "write a quote inside of a cell twice"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_to_change(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(BadFile, match=words):
        values(kept(tmp_path, text))


def test_cells_that_cannot_be_used_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = ["32/04/2025;1;abc;x", "2025-03-13;1", "2025-03-13;1;5;x;more", "2025-03-13;1;5;#REF!"]
    path = kept(tmp_path, HEAD + "2025-03-14;1;7.5;ok\n" + "\n".join(lines))
    rows = list(read_rows(path, detect(path, FIELDS), FIELDS))
    assert [sorted(row.errors) for row in rows] == [[], ["amount", "day"], [""], [""], ["note"]]
    assert rows[1].values == {"who": "1", "note": "x"}
    assert rows[2].errors[""] == "The row has 2 cells and the header 4: add the rest."
    assert "put a text that holds the separator in quotes" in rows[3].errors[""]
    assert "the error #REF!" in rows[4].errors["note"]


def test_an_error_in_a_csv_is_refused_in_a_column_that_nobody_reads(tmp_path: Path) -> None:
    path = kept(tmp_path, "day;who;amount;Total\n2025-03-13;1;5;#DIV/0!\n2025-03-13;1;5;#1\n")
    first, second = read_rows(path, detect(path, FIELDS), FIELDS)
    assert first.errors["Total"].startswith("The cell holds the error #DIV/0!")
    assert second.errors == {}
    with pytest.raises(BadFile, match="The header cannot be read: The cell holds the error #N/A"):
        detect(kept(tmp_path, "day;who;amount;#N/A\n2025-03-13;1;5;x\n"), FIELDS)


@pytest.mark.parametrize(
    "word",
    ["#N/A", "#NV", "#WERT!", "#NOM?", "#VALEUR!", "#WAARDE!", "#¡REF!", "#¿NOMBRE?", "#n/a"],
)
def test_an_error_is_one_in_the_language_of_whoever_saved_the_csv(
    tmp_path: Path, word: str
) -> None:
    path = kept(tmp_path, f"{HEAD}2025-03-13;1;5;{word}\n2025-03-13;1;5;# {word}\n")
    first, second = read_rows(path, detect(path, FIELDS), FIELDS)
    assert word in first.errors["note"]
    assert second.errors == {}


def test_no_cell_of_the_rejected_rows_starts_a_formula(tmp_path: Path) -> None:
    rejects = Rejects(tmp_path / "rejected.csv")
    rejects(Problem("=1+1.csv", 2, "+user_id", "@x is not a number.", ("-1", "2")))
    rejects.close()
    with (tmp_path / "rejected.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert list(row.values()) == ["'=1+1.csv", "2", "'+user_id", "'@x is not a number.", "'-1;2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lists_are_read_item_by_item_with_their_lines(tmp_path: Path, encoding: str) -> None:
    text = "[" + ",\n".join(f'{{"track_id": "{n}é"}}' for n in range(20_000)) + "]"
    items = list(json_items(kept(tmp_path, text.encode(encoding))))
    assert len(items) == 20_000
    assert items[-1] == (20_000, {"track_id": "19999é"})
    indented = '[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }, {\n    "a": 3}, 4\n]\n'
    assert [line for line, _ in json_items(kept(tmp_path, indented))] == [2, 5, 7, 8]


@pytest.mark.parametrize(
    ("text", "line"),
    [("{}", 1), ('\n\n[{"a"}]', 3), ("[1 2]", 1), ("[] x", 1), ("", 1), ("[1,", 1)],
)
def test_what_is_no_json_list_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    with pytest.raises(BadFile) as refused:
        list(json_items(kept(tmp_path, text)))
    assert refused.value.line == line


def test_what_is_shown_of_a_file_is_short_whatever_its_cells_hold(tmp_path: Path) -> None:
    wide = ";".join("x" * 50_000 for _ in range(20))
    head = HEAD.rstrip("\n") + ";" + ";".join(f"{n}" + "y" * 500 for n in range(20))
    path = kept(tmp_path, f"{head}\n" + f"2025-03-13;1;5;note;{wide}\n" * 30)
    role = Role("file", "File", "", FIELDS)
    look = look_at(path, "f.csv", role, Choices(), lambda row: row.errors, Rejects())
    assert (look["good"], look["bad"]) == (30, 0)
    assert len(json.dumps(look)) < 150_000


GUESSED = (
    Field("day", "day", "day"),
    Field("scope", "scope", looks=r"(scope )?[123]"),
    Field("amount", "amount", "decimal"),
    Field("length", "length", "seconds"),
)


def test_columns_are_guessed_by_what_stands_below_and_asked_for(tmp_path: Path) -> None:
    text = (
        "When;What;How much;GHG;Played\n2025-03-01T10:00;x;12,5;Scope 1;3:25\n2025-03-02;y;7;2;0:59"
    )
    found = detect(kept(tmp_path, text), GUESSED, may_ask=True)
    assert found.columns == ("day", None, "amount", "scope", "length")
    (asked,) = found.questions
    assert asked.name == "columns"
    assert "amount from “How much”" in asked.sentence
    assert "needs" not in asked.sentence


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        # Two columns of numbers: nobody knows which is the amount.
        (
            "When;A;B;GHG;Played",
            "2025-03-01;12,5;7,5;1;3:25",
            ("day", None, None, "scope", "length"),
        ),
        # A column of scopes looks like numbers too, and is scopes.
        ("When;A;Played", "2025-03-01;2;3:25", ("day", "scope", "length")),
        # One odd cell, and it is not guessed.
        ("When;A;GHG;Played", "soon;7;1;3:25", (None, "amount", "scope", "length")),
        # What a heading says is not guessed at.
        ("day;amount;scope;length", "2025-03-01;7;1;3:25", ("day", "amount", "scope", "length")),
    ],
)
def test_a_column_is_guessed_only_where_it_can_be_no_other(
    tmp_path: Path, header: str, row: str, columns: tuple[str | None, ...]
) -> None:
    path = kept(tmp_path, f"{header}\n{row}\n{row}")
    assert detect(path, GUESSED, may_ask=True).columns == columns


def test_nothing_is_guessed_where_nobody_is_asked(tmp_path: Path) -> None:
    path = kept(tmp_path, "When;How much;GHG;Played\n2025-03-01;12,5;1;3:25")
    with pytest.raises(BadFile, match="The header needs the columns day, scope, amount, length"):
        detect(path, GUESSED)
    said = Choices(columns={"day": None, "scope": 2, "amount": 1, "length": 3})
    assert detect(path, GUESSED, said, may_ask=True).columns[0] is None


@pytest.mark.parametrize(
    ("heading", "cell", "seconds"),
    [
        ("length", "3:30", "210"),
        ("length", "00:03:29,6", "210"),
        ("length", "PT3M30S", "210"),
        ("length", "3 min 30 s", "210"),
        ("length", "210.0", "210"),
        ("length", "1:75:00", "1:75:00"),
        ("length", "205.4", "205.4"),
        ("msPlayed", "209600", "210"),
        ("length (ms)", "210.250", "'210.250' may be read in two ways; write it as a number."),
        ("length (min)", "3,5", "210"),
        ("length (min:sec)", "210", "210"),
        ("length (hh:mm)", "3:30", "3:30 is in hours and minutes here: write it with seconds, "),
    ],
)
def test_durations_are_seconds(tmp_path: Path, heading: str, cell: str, seconds: str) -> None:
    fields = (Field("length", "length", "seconds", words=("ms played",)),)
    path = kept(tmp_path, f"note;{heading}\nx;{cell}\n")
    [row] = read_rows(path, detect(path, fields), fields)
    assert (row.values | row.errors)["length"].startswith(seconds)
