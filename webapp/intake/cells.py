"""One cell as a value, and what cells prove of their file.

Numbers with either decimal mark, dates in a known order, and what is none. Cells of a CSV file are
plain text. A workbook knows more of its cells, which are text of a class that says so: a number is
written with a point whatever the file's decimal mark, and counts as a date only in a column of
dates. Which mark and which order a file has its cells prove; one that may be read in two ways
proves nothing, and where all do, somebody has to be asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from webapp.lib.texts import plain

DateOrder = Literal["dmy", "mdy", "ymd"]
FIRST_YEAR, LAST_YEAR = 1970, 9000
ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
SLASHED = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})")
YEAR_FIRST = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})")
COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)")
# Midnight behind a date says nothing more; any other time would be dropped in silence.
_ZONE = r" ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)?$"
_MIDNIGHT = re.compile(r"[T ]+(0{1,2}:00(:00([.,]0+)?)?|12:00(:00)? ?[Aa][Mm])" + _ZONE)
_TIME = re.compile(r"[T ]+\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[AaPp][Mm])?" + _ZONE)
_YEAR_FIRST = (ISO, YEAR_FIRST, COMPACT)
_EXAMPLES = {"dmy": "dd/mm/yyyy", "mdy": "mm/dd/yyyy", "ymd": "yyyy-mm-dd"}
# Thousands may stand apart, in groups of three and all alike: 1.234,50 or 1 234.50.
_WHOLE = (
    r"(?P<sign>[-+\u2212]?)"
    r"(?P<whole>\d+|\d{{1,3}}(?P<gap>[{gaps}])\d{{3}}(?:(?P=gap)\d{{3}})*)"
)
_NUMBER = _WHOLE + r"(?:{mark}(?P<rest>\d+))?(?P<power>[eE][-+]?\d{{1,3}})?"
_SPACES = " \u00a0\u202f\u2009'\u2019"
_NUMBERS = {
    ",": re.compile(_NUMBER.format(gaps=r"." + _SPACES, mark=",")),
    ".": re.compile(_NUMBER.format(gaps=r"," + _SPACES, mark=r"\.")),
}
# As accountants write it, and some of their programs.
_BELOW_ZERO = re.compile(r"\(([\d][^()]*)\)|(\d[^-]*)-")
# What a spreadsheet shows where a formula has failed, in the languages of headings, as a CSV of it
# has it; in a workbook they are English whatever its language.
ERROR_WORDS = re.compile(
    r"#(N/[ABDV]|NV|GETTING_DATA|(NAME|NOM|NAAM|¿NOMBRE)\?"
    r"|¡?(REF|VALUE|DIV/0|NUM|NULL|SPILL|CALC|FIELD|BLOCKED|CONNECT|UNKNOWN|BUSY"
    r"|BEZUG|WERT|ZAHL|VALEUR|NOMBRE|NUL|VERW|WAARDE|GETAL|DEEL/0|LEEG|VALOR)!)",
    re.IGNORECASE,
)
_EXACT = Context(prec=200)


class NumberCell(str):
    """A number of a workbook, as it is stored there: `3.3000000000000003`, `1E-05`."""

    __slots__ = ()


class DateCell(NumberCell):
    """A number of a workbook that is shown as a day: `45729` as `13/03/2025`."""

    __slots__ = ()


class DurationCell(NumberCell):
    """A number of a workbook that is shown as a time with seconds: `0.00243` as `0:03:30`."""

    __slots__ = ()

    def seconds(self) -> int:
        """Return the seconds of so many days."""
        return round(Decimal(self) * 86_400)

    def shown(self) -> str:
        """Return it as a spreadsheet shows it."""
        minutes, seconds = divmod(abs(self.seconds()), 60)
        sign = "-" if self.seconds() < 0 else ""
        return f"{sign}{minutes // 60}:{minutes % 60:02}:{seconds:02}"


class ClockCell(DurationCell):
    """A number of a workbook that is shown as hours and minutes alone: `3:30`."""

    __slots__ = ()

    def shown(self) -> str:
        """Return it as a spreadsheet shows it."""
        return super().shown().rpartition(":")[0]


class ErrorCell(str):
    """A formula of a workbook that has failed: `#REF!`."""

    __slots__ = ()


class EmptyFormula(str):
    """A formula of a workbook whose value the program that wrote it has not stored."""

    __slots__ = ()


class BadCell(ValueError):
    """A cell that cannot be used: its column and a sentence."""

    def __init__(self, column: str, sentence: str) -> None:
        super().__init__(sentence)
        self.column = column
        self.sentence = sentence


def shown(text: str) -> str:
    """Return a cell as a sentence names it."""
    return repr(str(text)[:60]) if text.strip() else "An empty cell"


def trouble_of(text: str, address: str) -> str | None:
    """Return the sentence about a cell that holds no value, None where it holds one.

    address: where it stands in a workbook, as `C7`; empty for a CSV file
    """
    where = f"{address} holds" if address else "The cell holds"
    if isinstance(text, EmptyFormula):
        return (
            f"{where} a formula without a stored value; open the workbook once in a spreadsheet "
            "program and save it."
        )
    if isinstance(text, ErrorCell) or ERROR_WORDS.fullmatch(text.strip()):
        return (
            f"{where} the error {text.strip()}; correct the formula or empty the cell, "
            "and send the file again."
        )
    return None


def plain_text(text: str) -> str:
    """Return a cell as text: a workbook's number without an exponent or a `.0` behind it."""
    if not isinstance(text, NumberCell):
        return text
    try:
        if isinstance(text, DurationCell):
            return text.shown()
        return plain(Decimal(text))
    except InvalidOperation:
        return str(text)


def read_number(text: str, decimal_mark: str) -> Decimal:
    """Return a number exactly as it is written.

    Raises: ValueError with a sentence; for `7.9` where other numbers have a comma, too
    """
    stripped = text.strip()
    if isinstance(text, DateCell | DurationCell):
        # Spreadsheets make a day of `3.5` and a time of `3:30` as they are typed.
        what = f"the time {text.shown()}" if isinstance(text, DurationCell) else "a date"
        raise ValueError(f"The cell is shown as {what}; format it as a number, and write that.")
    if isinstance(text, NumberCell):
        decimal_mark = "."
    other = "." if decimal_mark == "," else ","
    found = _NUMBERS[decimal_mark].fullmatch(stripped)
    if found is None and (below_zero := _BELOW_ZERO.fullmatch(stripped)):
        return -read_number(below_zero[1] or below_zero[2], decimal_mark)
    if found is None:
        if re.fullmatch(rf"[-+]?\d+{re.escape(other)}\d+", stripped):
            names = {".": "a point", ",": "a comma"}
            raise ValueError(
                f"{shown(text)} has {names[other]} where other numbers have {names[decimal_mark]}."
            )
        raise ValueError(f"{shown(text)} is not a number.")
    whole = re.sub(r"\D", "", found["whole"])
    sign = "-" if found["sign"] in {"-", "\u2212"} else ""
    # No `.0` is added: it would be a digit that the currency of an amount may not have.
    rest = f".{found['rest']}" if found["rest"] else ""
    number = Decimal(f"{sign}{whole}{rest}{found['power'] or ''}")
    return number if number else Decimal(0)


def own_mark(cell: str) -> str:
    """Return the decimal mark that a cell proves by itself. Raises: ValueError with a sentence"""
    # A workbook's number is read by its point in any case.
    mark = None if isinstance(cell, NumberCell) else mark_of(cell.strip())
    if mark == "either":
        raise ValueError(f"{cell!r} may be read in two ways; write it as a number.")
    return mark or "."


def own_order(cell: str) -> DateOrder | None:
    """Return the order of day and month that a date proves by itself. Raises: ValueError"""
    found = None if isinstance(cell, NumberCell) else order_of(cell.strip())
    if found == "either":
        raise ValueError(f"{cell!r} may be read in two ways; write it as yyyy-mm-dd.")
    return found


def round_places(number: Decimal, whole_digits: int, places: int) -> Decimal:
    """Return a number rounded to the places a column keeps, without zeros at its end.

    Raises: ValueError with a sentence where the digits before the point do not fit
    """
    # Looked at first, so that 1e999999999 is not written out.
    too_large = f"Use at most {whole_digits} digits before the point."
    if number and number.adjusted() >= whole_digits:
        raise ValueError(too_large)
    if number and number.adjusted() < -places - 1:
        return Decimal(0)
    step = Decimal(1).scaleb(-places)
    kept = number.quantize(step, rounding=ROUND_HALF_EVEN, context=_EXACT)
    if kept and kept.adjusted() >= whole_digits:
        raise ValueError(too_large)
    return _EXACT.normalize(kept) if kept else Decimal(0)


def read_date(
    text: str, order: DateOrder | None, *, since_1904: bool = False, cut_time: bool = False
) -> date:
    """Return a date written in a known order; one with the year first is always read as such.

    A workbook's number is the day with that number, as spreadsheets count them.
    cut_time: a time of day behind it is dropped; else only midnight is
    Raises:   ValueError with a sentence
    """
    if isinstance(text, NumberCell) and not COMPACT.fullmatch(text):
        return _numbered_day(text, since_1904, cut_time)
    stripped = (_TIME if cut_time else _MIDNIGHT).sub("", text.strip())
    try:
        if match := next(filter(None, (one.fullmatch(stripped) for one in _YEAR_FIRST)), None):
            year, month, day = (int(part) for part in match.groups())
        elif order in ("dmy", "mdy") and (match := SLASHED.fullmatch(stripped)):
            first, second, year = (int(part) for part in match.groups())
            day, month = (first, second) if order == "dmy" else (second, first)
        else:
            raise ValueError
        found = date(year, month, day)
    except ValueError:
        example = _EXAMPLES[order or "ymd"]
        raise ValueError(f"{shown(text)} is not a date ({example}).") from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError(f"The year {found.year} is outside {FIRST_YEAR} to {LAST_YEAR}.")
    return found


def _numbered_day(text: str, since_1904: bool, cut_time: bool) -> date:
    number = Decimal(text)
    if cut_time and number.adjusted() < 9:
        number = Decimal(int(number))
    # 60 is a day that never was, the 29 February 1900; nobody means it, or one before it.
    if not 61 <= number <= 2_580_000:
        raise ValueError(f"{text} is not a date; write the day, such as 2025-03-13.")
    day = (date(1904, 1, 1) if since_1904 else date(1899, 12, 30)) + timedelta(days=int(number))
    if number != number.to_integral_value():
        raise ValueError(f"{text} is not a day: it is {day} with a time; write the day alone.")
    return day


class Question(NamedTuple):
    """What a file does not tell by itself. name: the choice that answers it"""

    name: str
    sentence: str
    examples: tuple[str, ...] = ()


class Proof:
    """The first cell that proves something, and the first that leaves it open."""

    def __init__(self, read: Callable[[str], str | None], answer: str | None) -> None:
        self._read = read
        self.answer: Any = answer
        self.doubtful = ""

    def look_at(self, cell: str) -> None:
        """Take one more cell into account."""
        if self.answer or not cell or isinstance(cell, NumberCell):
            return
        found = self._read(cell.strip())
        # A date with its year first says nothing of those that have it last.
        if found == "either":
            self.doubtful = self.doubtful or cell.strip()
        elif found and not (found == "ymd" and self.doubtful):
            self.answer = found


def mark_of(cell: str) -> str | None:
    """Return the decimal mark that a number proves, `either` where it may be one or thousands."""
    # A number with a power of ten has no thousands.
    digits, power, _ = cell.lower().strip("()-").partition("e")
    marks = [one for one in digits if one in ".,"]
    if not marks or not re.fullmatch(r"[+\u2212]?[\d.,\s'\u2019]*\d", digits):
        return None
    if len(marks) > 1:
        mark = marks[-1] if len(set(marks)) > 1 else "," if marks[0] == "." else "."
        # A number that is mistyped proves nothing of the others.
        return mark if _NUMBERS[mark].fullmatch(digits) else None
    before, _, after = digits.partition(marks[0])
    is_group = not power and len(after) == 3 and re.fullmatch(r"[+\u2212]?[1-9]\d{0,2}", before)
    return "either" if is_group else marks[0]


def order_of(cell: str) -> DateOrder | Literal["either"] | None:
    """Return the order of dates that a date proves, `either` where two are possible."""
    if ISO.match(cell) or YEAR_FIRST.match(cell):
        return "ymd"
    match = SLASHED.match(cell)
    if not match:
        return None
    first, second = int(match[1]), int(match[2])
    if 12 < first <= 31 and second <= 12:
        return "dmy"
    if 12 < second <= 31 and first <= 12:
        return "mdy"
    return "either" if first <= 12 and second <= 12 else None


def question(name: str, example: str) -> Question:
    """Return the question of a mark or an order that a cell leaves open."""
    if name == "decimal_mark":
        bare = example.replace("." if "." in example else ",", "")
        sentence = (
            f"{example} may be {bare}, or a number with three decimals. Say which mark stands "
            "before the decimals: the comma (,) or the point (.)."
        )
    else:
        sentence = (
            f"No day is above 12, so {example} may be read in two ways. Say which: dmy or mdy."
        )
    return Question(name, sentence, (example,))
