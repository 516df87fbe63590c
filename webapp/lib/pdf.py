"""Documents as PDF: a title, paragraphs, facts, tables and bar charts, on A4 or Letter.

They are typeset by Typst, whose program is `document.typ`: fonts embedded, text of every common
script shaped, headings as bookmarks, `page x of y`, tagged as PDF/UA-1 asks. What is handed over
is data throughout; no text of it is read as markup. It is done by a process of its own
(`typesetter.py`), so that what a large table takes in memory is given back.

    write_pdf(file, "Statement", [facts(pairs), table("Sums", COLUMNS, rows)], author="Ann")
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from webapp.lib.moments import utcnow
from webapp.lib.texts import made_storable
from webapp.lib.workbooks import Column, heading

TYPESETTER = Path(__file__).with_name("typesetter.py")
LONGEST_S = 300
# A table is laid out in memory, some 200 kB a row.
MOST_ROWS = 1_000
DASH = "–"
LONGEST_UNBROKEN = 8
_WIDTHS = {"text": 3.0, "id": 3.0, "integer": 0.9, "decimal": 1.6}

# One name with such a mark in it would turn the rest of its paragraph around.
_TURNS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_LONG_WORD = re.compile(r"\S{25,}")

Block = dict[str, Any]
Paper = Literal["a4", "us-letter"]


def paragraph(text: str, title: str = "") -> Block:
    """Return a paragraph, below a heading of its own where it has a title."""
    return {"kind": "paragraph", "title": title, "text": text}


def headline(text: str, below: str = "") -> Block:
    """Return the one figure a document is about, in large type, and what stands below it."""
    return {"kind": "headline", "title": "", "text": text, "below": below}


def facts(pairs: Iterable[tuple[str, str | int]], title: str = "") -> Block:
    """Return labels with their texts."""
    told = [(label, f"{one:,}" if isinstance(one, int) else one) for label, one in pairs]
    return {"kind": "facts", "title": title, "pairs": told}


def table(
    title: str,
    columns: Sequence[Column],
    rows: Iterable[Mapping[str, Any]],
    *,
    bold: Collection[str] = (),
    depth: str = "",
    most_rows: int = MOST_ROWS,
) -> Block:
    """Return a table; its header comes again on each page, numbers have the places of their column.

    bold:  rows whose first cell is one of these are totals
    depth: the member of a row that says how far it is indented
    """
    found = list(islice(rows, most_rows + 1))
    cells = [
        [breakable(shown(row.get(one.name), one)) for one in columns] for row in found[:most_rows]
    ]
    if len(found) > most_rows:
        cut = f"… cut here after {most_rows:,} rows; take the CSV."
        cells.append([cut, *[""] * (len(columns) - 1)])
    return {
        "kind": "table",
        "title": title,
        "header": list(map(_header, columns)),
        "numbers": [one.is_number for one in columns],
        "widths": [_WIDTHS.get(one.type, 1.5) for one in columns],
        "rows": cells,
        "bold": [place for place, row in enumerate(cells) if row[0] in bold],
        "depths": [int(row[depth]) for row in found] if depth else [],
    }


def _header(column: Column) -> str:
    """Return the heading of a column; a short unit is not broken over two lines."""
    short = len(column.unit) <= LONGEST_UNBROKEN
    unit = column.unit.replace(" ", "\N{NO-BREAK SPACE}") if short else column.unit
    return heading(replace(column, unit=unit))


def chart(
    title: str,
    column: Column,
    bars: Iterable[tuple[str, Sequence[Any]]],
    series: Sequence[str] = (),
) -> Block:
    """Return a chart of bars: a label and a number for each of at most two series."""
    drawn: list[Block] = []
    told = []
    for label, sizes in bars:
        texts = [shown(one, column) for one in sizes]
        drawn.append(
            {"label": breakable(label), "sizes": [float(one or 0) for one in sizes], "texts": texts}
        )
        told.append(f"{label}: {' against '.join(texts)}")
    title = f"{title} ({column.unit})" if column.unit else title
    return {
        "kind": "chart",
        "title": title,
        "alt": "; ".join(told),
        "bars": drawn,
        "series": list(series),
    }


def shown(value: Any, column: Column) -> str:
    """Return a cell as a document shows it: a dash for nothing, thousands apart."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.type == "decimal" and isinstance(value, int | float | Decimal):
        return f"{value:z,.{column.places}f}"
    return f"{value:,}" if column.type == "integer" else str(value)


def breakable(text: str) -> str:
    """Return a text whose words a narrow column can break: no column holds a long one."""
    return _LONG_WORD.sub(lambda found: "\N{ZERO WIDTH SPACE}".join(found[0]), text)


def write_pdf(
    file: IO[bytes],
    title: str,
    blocks: Sequence[Block],
    *,
    author: str = "",
    subject: str = "",
    footer: str = "",
    paper: Paper = "a4",
    landscape: bool = False,
    language: str = "en",
    made_at: datetime | None = None,
) -> None:
    """Write a document. footer: stands at the left of each page's number"""
    data = {
        "title": title,
        "author": author,
        "subject": subject,
        "footer": footer or title,
        "paper": paper,
        "landscape": landscape,
        "language": language,
        "blocks": blocks,
        "made_at": (made_at or utcnow()).replace(microsecond=0).isoformat(),
    }
    done = subprocess.run(  # noqa: S603 (a program of ours, no shell)
        [sys.executable, "-I", str(TYPESETTER)],
        input=made_storable(json.dumps(data, ensure_ascii=False)).translate(_TURNS).encode(),
        capture_output=True,
        check=False,
        env={},
        timeout=LONGEST_S,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode("utf-8", "replace")[-2000:])
    file.write(done.stdout)
