"""The statement as PDF: title, facts, sums by scope, category and unit, page x of y.

Fonts are embedded. They hold Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic letters
and more, but no Chinese, Japanese or Korean: such a character is shown as the mark U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from webapp.engine.kind import Column
from webapp.kinds.inventory.compute import Line
from webapp.kinds.inventory.snapshot import Snapshot
from webapp.kinds.inventory.tabular import (
    CATEGORY_COLUMNS,
    SCOPE_COLUMNS,
    UNIT_COLUMNS,
    about,
    compared,
)
from webapp.kinds.inventory.workbooks import Tick

FONTS = Path(__file__).parent / "fonts"
PLAIN, BOLD = "DejaVuSansCondensed", "DejaVuSansCondensed-Bold"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
PAGE = landscape(A4)
MARGIN = 15 * mm
WIDTH = PAGE[0] - 2 * MARGIN
BOTTOM = MARGIN + 6 * mm
# Height of a line for each size of type, in points.
LINE = {16: 22.0, 11: 20.0, 9: 14.0, 8: 13.0}
_WEIGHTS = {"text": 3.0, "integer": 0.8, "decimal": 1.7}
NOTE = (
    "All emissions in kg CO2 equivalent: quantity times emission factor of each entry, added "
    "without rounding. A dash stands where there is nothing to compare with. The workbook and "
    "the data file of the same report hold the same totals."
)


def write_iso14064(snapshot: Snapshot, file: IO[bytes], _tick: Tick) -> None:
    """Write the statement of the organisation's emissions."""
    facts = snapshot.facts
    scopes, categories, units = compared(snapshot)
    pages = Statement(file, f"{facts.name}: {facts.company}, {facts.period.name}", facts.made_by)
    pages.text("Greenhouse gas inventory, organised after ISO 14064-1.")
    pages.facts(about(snapshot))
    pages.table("Emissions by scope", SCOPE_COLUMNS, scopes, last_is_total=True)
    pages.table("Emissions by category", CATEGORY_COLUMNS, categories)
    shown = tuple(one for one in UNIT_COLUMNS if one.name not in {"id", "depth"})
    indent = "\N{NO-BREAK SPACE}" * 4
    named = ({**line, "name": indent * line["depth"] + line["name"]} for line in units)
    pages.table("Emissions by organizational unit", shown, named)
    pages.text(NOTE)
    pages.save()


@lru_cache(maxsize=1)
def _known_characters() -> frozenset[int]:
    """Make the fonts known and return the characters that both of them have."""
    for name in (PLAIN, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(FONTS / f"{name}.ttf")))
    faces = [pdfmetrics.getFont(name).face for name in (PLAIN, BOLD)]
    return frozenset.intersection(*(frozenset(face.charToGlyph) for face in faces))


class NumberedPages(Canvas):
    """Pages that know how many they are: their numbers are written when all are there."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, pagesize=PAGE, lang="en", initialFontName=PLAIN)
        self._kept: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802
        """Keep the page and begin the next one."""
        self._kept.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write every page with its number, and the end."""
        for number, page in enumerate(self._kept, start=1):
            self.__dict__.update(page)
            self.setFont(PLAIN, 8)
            where = f"Page {number} of {len(self._kept)}"
            self.drawRightString(PAGE[0] - MARGIN, MARGIN / 2, where)
            super().showPage()
        super().save()


class Statement:
    """A document written from top to bottom: paragraphs, facts, and tables that wrap."""

    def __init__(self, file: IO[bytes], heading: str, author: str) -> None:
        self._known = _known_characters()
        self._canvas = NumberedPages(file)
        self._canvas.setTitle(self.shown(heading))
        self._canvas.setAuthor(self.shown(author))
        self._canvas.setSubject("Greenhouse gas inventory after ISO 14064-1")
        self._y = PAGE[1] - MARGIN
        self.text(heading, BOLD, 16)

    def save(self) -> None:
        """Write the document's end."""
        self._canvas.showPage()
        self._canvas.save()

    def shown(self, text: str) -> str:
        """Return a text in characters the fonts have."""
        return "".join(one if ord(one) in self._known else UNKNOWN for one in text)

    def text(self, text: str, font: str = PLAIN, size: int = 9) -> None:
        """Write a paragraph and a gap below it."""
        for line in wrapped(self.shown(text), font, size, WIDTH):
            self._room(LINE[size])
            self._draw(MARGIN, line, font, size)
            self._y -= LINE[size]
        self._y -= 4

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write labels with their texts."""
        left = 52 * mm
        for label, text in pairs:
            for number, line in enumerate(wrapped(self.shown(text), PLAIN, 9, WIDTH - left)):
                self._room(LINE[9])
                if not number:
                    self._draw(MARGIN, label, BOLD, 9)
                self._draw(MARGIN + left, line, PLAIN, 9)
                self._y -= LINE[9]
        self._y -= 8

    def table(
        self,
        title: str,
        columns: tuple[Column, ...],
        lines: Iterable[Line],
        *,
        last_is_total: bool = False,
    ) -> None:
        """Write a table under its title; the header comes again on each page."""
        weights = [_WEIGHTS[column.type] for column in columns]
        widths = [WIDTH * weight / sum(weights) for weight in weights]
        self._room(LINE[11] + 4 * LINE[8])
        self._draw(MARGIN, title, BOLD, 11)
        self._y -= LINE[11]
        self._header(columns, widths)
        rows = list(lines)
        for number, line in enumerate(rows, start=1):
            font = BOLD if last_is_total and number == len(rows) else PLAIN
            cells = [_written(line[column.name]) for column in columns]
            self._row(columns, widths, cells, font)
        self._y -= 12

    def _header(self, columns: tuple[Column, ...], widths: list[float]) -> None:
        names = [f"{one.label} ({one.unit})" if one.unit else one.label for one in columns]
        self._row(columns, widths, names, BOLD, again=False)
        self._canvas.line(MARGIN, self._y + 9.5, MARGIN + WIDTH, self._y + 9.5)

    def _row(
        self,
        columns: tuple[Column, ...],
        widths: list[float],
        cells: list[str],
        font: str,
        *,
        again: bool = True,
    ) -> None:
        gap = 4
        texts = [
            wrapped(self.shown(cell), font, 8, width - gap)
            for cell, width in zip(cells, widths, strict=True)
        ]
        height = LINE[8] * max(map(len, texts))
        if self._room(height) and again:
            self._header(columns, widths)
        left = MARGIN
        for column, width, parts in zip(columns, widths, texts, strict=True):
            for number, part in enumerate(parts):
                down = number * LINE[8]
                self._draw(left, part, font, 8, down, right=left + width - gap, column=column)
            left += width
        self._y -= height

    def _room(self, height: float) -> bool:
        """Begin a new page where the height does not fit any more; return whether it did."""
        if self._y - height >= BOTTOM:
            return False
        self._canvas.showPage()
        self._y = PAGE[1] - MARGIN
        return True

    def _draw(
        self,
        x: float,
        text: str,
        font: str,
        size: int,
        down: float = 0,
        *,
        right: float = 0,
        column: Column | None = None,
    ) -> None:
        self._canvas.setFont(font, size)
        if column is not None and column.is_number:
            self._canvas.drawRightString(right, self._y - down, text)
        else:
            self._canvas.drawString(x, self._y - down, text)


def wrapped(text: str, font: str, size: int, width: float) -> list[str]:
    """Return a text in lines that fit the width; a word too long for one is cut."""
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if pdfmetrics.stringWidth(longer, font, size) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while len(line) > 1 and pdfmetrics.stringWidth(line, font, size) > width:
            fits = next(
                cut
                for cut in range(len(line) - 1, 0, -1)
                if cut == 1 or pdfmetrics.stringWidth(line[:cut], font, size) <= width
            )
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line]


def _written(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Decimal):
        whole, _, places = f"{value:,.6f}".partition(".")
        return f"{whole}.{places.rstrip('0').ljust(2, '0')}"
    return f"{value:,}" if isinstance(value, int) else str(value)
