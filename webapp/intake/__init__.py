"""intake: files that people send, taken in. It names no kind.

A kind hands over its columns as `Field`s. `detect` finds out how a file is written (`Format`): CSV
or XLSX, encoding, separator, the sheet, the line of the header and which column is which field,
the decimal mark, the order of dates. What a file cannot tell is a `Question` in the format, and a
person's answer are `Choices`; nothing is guessed. `read_rows` then yields one `Row` at a time:
typed values by field, and a sentence for each cell that cannot be used. What else is wrong with a
row only the kind can say; both end as a `Problem` by file, line and column in `Rejects`, which
shows the first and writes all of them into a CSV. `json_items` reads a long JSON list likewise.
A file that cannot be read as a whole raises `BadFile`.

Uploads (`uploads.py`) are kept where every process reaches them. A worker looks through every row
once and keeps what it found, so that pages (`pages.py`) read no file; another job loads them. What
a kind does with its files it says with a `Loader`, and `upload_pages` makes its pages.

    found = detect(path, FIELDS, Choices(date_order="dmy"))
    for row in read_rows(path, found, FIELDS):
        row.line, row.values["fee"], row.errors
"""

from webapp.intake.cells import (
    BadCell,
    DateOrder,
    Question,
    order_of,
    read_date,
    read_number,
    round_places,
    shown,
)
from webapp.intake.columns import Field, heading_key
from webapp.intake.formats import Choices, detect
from webapp.intake.loader import Loader, Role, choices_of, look_at, teller, with_saved_mapping
from webapp.intake.pages import UploadPages, upload_pages
from webapp.intake.rejects import LoadRefused, Problem, Rejects
from webapp.intake.rows import Format, Row, is_as_written, read_rows
from webapp.intake.text import BadFile, Told, json_items
from webapp.intake.uploads import Upload, find_mapping
from webapp.intake.uploads import drop_expired as drop_expired_uploads

__all__ = [
    "BadCell",
    "BadFile",
    "Choices",
    "DateOrder",
    "Field",
    "Format",
    "LoadRefused",
    "Loader",
    "Problem",
    "Question",
    "Rejects",
    "Role",
    "Row",
    "Told",
    "Upload",
    "UploadPages",
    "choices_of",
    "detect",
    "drop_expired_uploads",
    "find_mapping",
    "heading_key",
    "is_as_written",
    "json_items",
    "look_at",
    "order_of",
    "read_date",
    "read_number",
    "read_rows",
    "round_places",
    "shown",
    "teller",
    "upload_pages",
    "with_saved_mapping",
]
