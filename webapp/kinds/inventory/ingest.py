"""Uploaded files of entries: their columns, what is wrong with a row, how they are stored."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.intake import (
    BadFile,
    Field,
    Loader,
    LoadRefused,
    Problem,
    Rejects,
    Role,
    Row,
    Told,
    Upload,
    UploadPages,
    choices_of,
    detect,
    read_rows,
    teller,
)
from webapp.jobs import Attempt
from webapp.kinds.inventory import entries

PERIOD = (
    *("period", "reporting period", "reporting period id", "reporting year"),
    *("Berichtszeitraum", "Jahr", "période", "année", "periode", "jaar", "período", "año"),
)
UNIT = (
    "unit",
    "organizational unit",
    "organization unit id",
    "organizational unit id",
    "site",
    "facility",
    *("location", "office", "plant", "branch", "business unit"),
    *("Standort", "Werk", "Niederlassung", "vestiging", "locatie"),
    *("établissement", "bureau", "sede", "instalación", "centro"),
)
FACTOR = (
    *("factor", "ef", "conversion factor", "Emissionsfaktor", "facteur d'émission", "facteur"),
    *("emissiefactor", "factor de emisión"),
)
FIELDS = (
    Field("id", "id", words=("entry id",), made=True),
    Field("period_id", "period", words=PERIOD, looks=r"(FY ?)?(19|20)\d\d"),
    Field("unit_id", "organizational unit", words=UNIT),
    Field(
        "scope",
        "scope",
        "integer",
        words=("ghg scope", "alcance", "périmètre"),
        looks=r"(scope ?)?[123](\.0)?",
    ),
    Field(
        "category",
        "category",
        words=("emission category", "Kategorie", "catégorie", "categorie", "categoría"),
    ),
    Field(
        "description",
        "description",
        required=False,
        words=(
            *("activity", "Beschreibung", "omschrijving", "désignation", "Aktivität", "activité"),
            *("activiteit", "actividad", "descripción", "emission source"),
        ),
        takes_notes=True,
    ),
    Field(
        "quantity",
        "quantity",
        "decimal",
        words=(
            *("amount", "activity data", "activity amount", "consumption", "usage", "Menge"),
            *("Verbrauch", "quantité", "consommation", "hoeveelheid", "verbruik"),
            *("cantidad", "consumo"),
        ),
    ),
    Field(
        "unit_of_measure",
        "unit of measure",
        words=("unit", "uom", "units", "Einheit", "unité", "unité de mesure", "eenheid", "unidad"),
        looks=r"[kMG]?Wh|[MG]J|k?g|t|tonnes?|lit(re|er)s?|l|m3|m³|[pt]?km|EUR|USD|GBP|nights?",
    ),
    Field("emission_factor", "emission factor", "decimal", words=FACTOR),
    Field(
        "factor_source",
        "source of the factor",
        required=False,
        words=(
            "source of the factor",
            "source",
            "ef source",
            "reference",
            "Quelle",
            "bron",
            "fuente",
        ),
    ),
    Field("gas", "gas", required=False, words=("ghg", "Gas", "gaz")),
    Field(
        "warming_potential",
        "warming potential",
        "decimal",
        required=False,
        words=("gwp", "global warming potential", "Treibhauspotenzial", "PRG"),
    ),
    Field("basis", "basis of scope 2", required=False, words=("scope 2 basis", "scope 2 method")),
    Field("is_biogenic", "biogenic", required=False, words=("biogenic", "biogen", "biogénique")),
    Field("start_date", "start", "date", required=False, words=("start", "from", "von", "begin")),
    Field("end_date", "end", "date", required=False, words=("end", "to", "bis")),
)
LOADER_ROLES = (
    Role(
        "file", "CSV or XLSX file", "An entry with a known ID is updated, not added again.", FIELDS
    ),
)


def row_checker(company_id: str, *_: Any) -> Callable[[Row], dict[str, str]]:
    """Return what says what is wrong with a row of entries, by column."""
    checker = entries.Checker(company_id)

    def check(row: Row) -> dict[str, str]:
        return entries.check_row(checker, row)[1]

    return check


def load(
    upload: Upload, paths: Mapping[str, Path], _rejected: Path, attempt: Attempt
) -> tuple[str, dict[str, Any]]:
    """Store the entries of an upload, all of them or, where asked, the good ones.

    All is checked before the first write, which on SQLite makes every other writer wait.
    Raises: LoadRefused where a row is wrong and wrong ones are not to be left out, Conflict
    """
    company_id, options = upload.company_id, upload.options
    name, rejects = upload.names, Rejects()
    checker, path = entries.Checker(company_id), paths["file"]
    try:
        found = detect(path, FIELDS, choices_of(options, "file"))
        attempt.set_total(100)
        attempt.stage("Reading the rows", upto=0.7)
        with tempfile.TemporaryFile(prefix="inventory-") as good:
            for row in read_rows(path, found, FIELDS, teller(attempt, 0)):
                checked, errors = entries.check_row(checker, row)
                if checked is not None:
                    good.write(entries.packed(checked))
                for column, sentence in list(errors.items())[:1]:
                    rejects(Problem(name, row.line, column, sentence))
            if rejects.total and not options.get("skip_bad"):
                raise LoadRefused(rejects.shown, rejects.total)
            attempt.set_total(200)
            attempt.stage("Storing the rows")
            rows, of_sheet = _unpacked(good, teller(attempt, 100)), found.sheet is not None
            counted = entries.store(company_id, rows, of_sheet=of_sheet)
            db.session.commit()
    except BadFile as error:
        raise InvalidParams({"file": error.sentence}) from None
    return ", ".join(f"{count:,} {word}" for word, count in counted.items()) + ".", counted


def _unpacked(file: IO[bytes], told: Told) -> Iterator[dict[str, Any]]:
    size = file.tell()
    file.seek(0)
    while line := file.readline():
        told(file.tell(), size)
        yield entries.unpacked(line)


LOADER = Loader("inventory", LOADER_ROLES, row_checker, load)
PAGES = UploadPages(
    LOADER,
    form_path="upload",
    home="/inventory",
    title="Upload entries",
    intro="The entries of a file are stored, all of them or those that can be used.",
)
