"""The columns of uploaded entries, and their rows as the intake reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from webapp.errors import InvalidParams
from webapp.intake import BadFile, Choices, Field, Row, detect, read_rows

FIELDS = (
    Field("id", "id", words=("entry id",)),
    Field("period_id", "period_id", words=("period", "reporting period", "reporting period id")),
    Field(
        "unit_id",
        "unit_id",
        words=(
            "unit",
            "organizational unit",
            "organization unit id",
            "organizational unit id",
        ),
    ),
    Field("scope", "scope", "integer"),
    Field("category", "category"),
    Field("description", "description", required=False),
    Field("quantity", "quantity", "decimal"),
    Field("unit_of_measure", "unit_of_measure"),
    Field("emission_factor", "emission_factor", "decimal", words=("factor",)),
    Field(
        "factor_source", "factor_source", required=False, words=("source of the factor", "source")
    ),
    Field("start_date", "start_date", "date", required=False, words=("start",)),
    Field("end_date", "end_date", "date", required=False, words=("end",)),
)
MOST_LINES = 500_000


def read_lines(path: Path) -> Iterator[Row]:
    """Yield the rows of a file. Raises: InvalidParams for `file` where it cannot be read"""
    try:
        found = detect(path, FIELDS, Choices(decimal_mark=".", date_order="ymd"))
        for question in found.questions:
            raise BadFile(question.sentence)
        for count, row in enumerate(read_rows(path, found, FIELDS), start=1):
            if count > MOST_LINES:
                raise BadFile(f"A file may have {MOST_LINES:,} lines; send several.")
            yield row
    except BadFile as error:
        where = f"Line {error.line}: " if error.line > 1 else ""
        raise InvalidParams({"file": where + error.sentence}) from None
