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

from webapp.intake.cells import BadCell as BadCell
from webapp.intake.cells import DateOrder as DateOrder
from webapp.intake.cells import Question as Question
from webapp.intake.cells import order_of as order_of
from webapp.intake.cells import read_date as read_date
from webapp.intake.cells import read_number as read_number
from webapp.intake.cells import round_places as round_places
from webapp.intake.cells import shown as shown
from webapp.intake.columns import Field as Field
from webapp.intake.columns import heading_key as heading_key
from webapp.intake.formats import Choices as Choices
from webapp.intake.formats import detect as detect
from webapp.intake.loader import Loader as Loader
from webapp.intake.loader import Role as Role
from webapp.intake.loader import choices_of as choices_of
from webapp.intake.loader import look_at as look_at
from webapp.intake.loader import teller as teller
from webapp.intake.loader import with_saved_mapping as with_saved_mapping
from webapp.intake.pages import UploadPages as UploadPages
from webapp.intake.pages import upload_pages as upload_pages
from webapp.intake.rejects import LoadRefused as LoadRefused
from webapp.intake.rejects import Problem as Problem
from webapp.intake.rejects import Rejects as Rejects
from webapp.intake.rows import Format as Format
from webapp.intake.rows import Row as Row
from webapp.intake.rows import is_as_written as is_as_written
from webapp.intake.rows import read_rows as read_rows
from webapp.intake.text import BadFile as BadFile
from webapp.intake.text import Told as Told
from webapp.intake.text import json_items as json_items
from webapp.intake.uploads import Upload as Upload
from webapp.intake.uploads import drop_expired_uploads as drop_expired_uploads
from webapp.intake.uploads import find_mapping as find_mapping
