"""`flask label-revenue load|unload|recount`: what operators do with files on the machine itself."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy import select

from webapp import accounts, jobs
from webapp.commands import handle_cli_errors, progress_bar, with_database
from webapp.engine.models import Report
from webapp.engine.results import ReadResult
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.intake import BadFile, Choices, find_mapping, with_saved_mapping
from webapp.kinds.label_revenue import loads, sums, uploads
from webapp.kinds.label_revenue.in_force import recount as recount_sums
from webapp.kinds.label_revenue.ledger import SLUG
from webapp.kinds.label_revenue.loads import Loaded
from webapp.kinds.label_revenue.models import Batch, IssuedStatement, Ledger
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.statement import statements_of
from webapp.kinds.label_revenue.rows import FIELDS, STAGES, Options, Role, Source, Unanswered
from webapp.lib.months import months_between, parse_month
from webapp.lib.texts import as_id

group = AppGroup("label-revenue", help="Streams and fees of label revenue.")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@group.command("load")
@click.option("--users", type=FILE, help="CSV: user_id;product_type;fee;origin.")
@click.option("--streams", type=FILE, help="CSV: date;user_id;region;track id;seconds.")
@click.option("--tracks", metavar="FILE|URL", help="JSON list of tracks, or its address.")
@click.option("--company", required=True, help="The company that owns the streams.")
@click.option(
    "--date-order",
    type=click.Choice(["dmy", "mdy"]),
    help="Order of day and month, where no date shows it.",
)
@click.option("--separator", help="Separator of columns, or `tab`; detected if not given.")
@click.option(
    "--decimal-mark", "--decimal", type=click.Choice([",", "."]), help="Decimal mark of fees."
)
@click.option("--encoding", help="Encoding of the files, such as cp1252; detected if not given.")
@click.option("--sheet", help="Sheet of a workbook, by name.")
@click.option(
    "--repeated",
    type=click.Choice(["skip", "keep"]),
    default="skip",
    help="Streams that are already loaded: skip them (default) or count them again.",
)
@click.option(
    "--from-month",
    metavar="YYYY-MM",
    help="First month in which the terms of the users file apply.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out bad rows and write them to a CSV.")
@click.option("--rejected", type=click.Path(path_type=Path), help="Name of that CSV.")
@handle_cli_errors
@with_database
def load(company: str, **given: Any) -> None:
    """Load users, streams and tracks: all of it, or nothing."""
    company_id = accounts.named_company(company).id
    rejected = _free(given["rejected"] or Path("rejected.csv"))
    sources, notes = _sources(company_id, given)
    as_given = ("date_order", "decimal_mark", "sheet", "repeated", "skip_bad")
    options = Options(
        separator=_separator(given["separator"]),
        encoding=_encoding(given["encoding"]),
        rejected=rejected,
        from_month=_from_month(given["from_month"]),
        **{name: given[name] for name in as_given},
    )
    while True:
        try:
            options = replace(options, by_role=_saved_columns(company_id, sources, options))
            loaded = _load_with_bar(company_id, sources, options)
            break
        except Unanswered as unknown:
            options = _asked(options, unknown)
    _tell(loaded, notes, rejected)


def _saved_columns(
    company_id: str, sources: dict[Role, Source], options: Options
) -> dict[str, Choices]:
    """Return what is said of each file, with the columns that were saved for its header."""
    found: dict[str, Choices] = {}
    for role in [role for role in sources if role in FIELDS]:
        saved = partial(find_mapping, company_id, SLUG, role)
        with suppress(BadFile):  # the load says it
            found[role], _ = with_saved_mapping(sources[role].path, FIELDS[role], options, saved)
    return found


def _load_with_bar(company_id: str, sources: dict[Role, Source], options: Options) -> Loaded:
    with progress_bar(only_at_a_terminal=True) as draw:

        def show(stage: str, done: int, total: int) -> None:
            draw(100 * done // total if total else 100, 100, STAGES[stage])

        return loads.load(company_id, sources, options, progress=show)


def _free(path: Path) -> Path:
    """Return a path for rejected rows where nothing is yet: those of an earlier load are kept."""
    try:
        if not path.parent.is_dir():
            raise InvalidParams({"rejected": f"There is no folder {path.parent}."})
        if path.is_dir():
            raise InvalidParams({"rejected": f"{path} is a folder; name a file in it."})
        names = chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(2)))
        return next(one for one in names if not one.exists())
    except OSError as error:
        raise InvalidParams({"rejected": f"{path} cannot be written: {error.strerror}."}) from None


def _encoding(name: str | None) -> str | None:
    try:
        "a".encode(name or "utf-8")
    except (LookupError, ValueError):
        sentence = f"{name} is no encoding of texts; write utf-8, cp1252 or utf-16, for example."
        raise InvalidParams({"encoding": sentence}) from None
    return name or None


def _separator(text: str | None) -> str | None:
    separator = {"tab": "\t", "\\t": "\t"}.get(text or "", text)
    if separator and (len(separator) > 1 or separator.isalnum() or separator in '"\r\n. '):
        raise InvalidParams({"separator": "Write one character, for example ; or , or tab."})
    return separator


def _from_month(text: str | None) -> date | None:
    try:
        return parse_month(text) if text else None
    except ValueError as error:
        raise InvalidParams({"from-month": str(error)}) from None


def _sources(company_id: str, given: dict[str, Any]) -> tuple[dict[Role, Source], list[str]]:
    sources: dict[Role, Source] = {}
    notes: list[str] = []
    roles: tuple[Role, ...] = ("users", "streams")
    for role in roles:
        if path := given[role]:
            sources[role] = Source(path, path.name)
    tracks = given["tracks"]
    if tracks and tracks.lower().startswith(("http://", "https://")):
        # Whoever may start commands here may reach this machine's network anyway.
        copy = uploads.copy_of(company_id, tracks)
        sources["tracks"], notes = uploads.fetch_tracks(tracks, copy, private_allowed=True)
    elif tracks:
        if not Path(tracks).is_file():
            raise InvalidParams({"tracks": f"There is no file {tracks}."})
        sources["tracks"] = Source(Path(tracks), Path(tracks).name)
    if not sources:
        raise InvalidParams({"files": "Name at least one of --users, --streams and --tracks."})
    return sources, notes


ANSWERS = {"date_order": ("dmy", "mdy"), "decimal_mark": (",", ".")}


def _asked(options: Options, unknown: Unanswered) -> Options:
    """Ask at a terminal what a file does not tell; elsewhere the option has to say it."""
    name = unknown.question.name
    if name not in ANSWERS or not sys.stdin.isatty():
        raise unknown
    click.echo(unknown.errors[name], err=True)
    words = name.replace("_", " ").capitalize()
    answer: Any = click.prompt(words, type=click.Choice(ANSWERS[name]), err=True)
    return replace(options, **{name: answer})


def _tell(loaded: Loaded, notes: list[str], rejected: Path) -> None:
    batch = loaded.batch
    for sentence in dict.fromkeys([*notes, *loaded.notes, *batch.warnings]):
        click.echo(sentence, err=True)
    if loaded.is_new:
        click.echo(loaded.summary)
        if batch.rejected:
            click.echo(f"The rejected rows are in {rejected}.")
        if not batch.summed:
            # A worker adds them up once this is committed.
            jobs.start(
                sums.ADD_UP.name,
                company_id=batch.company_id,
                user_id=None,
                payload={},
                key=batch.company_id,
            )
            db.session.commit()
    click.echo(f"Batch {batch.id}")


@group.command("unload")
@click.argument("batch")
@handle_cli_errors
@with_database
def unload(batch: str) -> None:
    """Undo a batch; what it replaced counts again."""
    if (batch_id := as_id(batch)) is None:
        raise InvalidParams({"batch": f"{batch} is not the ID of a batch."})
    found = db.session.scalar(select(Batch).where(Batch.id == batch_id))
    if found is None:
        raise InvalidParams({"batch": f"There is no batch {batch}."})
    try:
        undone = loads.unload(found.company_id, found.id)
    except NotFound as error:
        raise InvalidParams({"batch": error.message}) from None
    click.echo(f"Undone: {undone.streams} streams of batch {undone.id}.")


@group.command("verify")
@click.argument("report")
@click.option("--company", help="The company of a statement that is given by its number.")
@handle_cli_errors
@with_database
def verify(report: str, company: str | None) -> None:
    """Compute a REPORT (its ID) or a statement (its number) again; exit 1 if it differs."""
    if report_id := as_id(report):
        differing = _differing_months(report_id)
        name = f"The report {report_id}"
    elif report.isdigit() and company:
        kept = db.session.get(IssuedStatement, (accounts.named_company(company).id, int(report)))
        if kept is None:
            raise InvalidParams({"report": f"{company} has no statement {report}."})
        name = f"Statement {report} of {kept.label}"
        sums.process_pending(kept.company_id)
        payer = payouts.Payer(kept.company_id, kept.method)
        months = months_between(kept.first_month, kept.last_month)
        now = statements_of(payer, company, months, kept.label)
        differing = [] if [kept.source_hash] == [one.source_hash for one in now] else ["its months"]
    else:
        raise InvalidParams(
            {"report": "Name a report's ID, or a statement's number and --company."}
        )
    if differing:
        click.echo(
            f"{name} differs: what {', '.join(differing)} is computed from has changed.", err=True
        )
        raise SystemExit(1)
    click.echo(f"{name} was computed again: the same.")


def _differing_months(report_id: str) -> list[str]:
    """Return the months of a report that are computed from something else now."""
    report = db.session.get(Report, report_id)
    if report is None or report.kind != SLUG:
        raise InvalidParams({"report": f"There is no label-revenue report {report_id}."})
    head = ReadResult(report).head
    if "sources" not in head:
        raise InvalidParams({"report": "It is from before reports kept what they are made of."})
    # Without the store: what it kept is what is to be verified.
    sums.process_pending(report.company_id)
    payer = payouts.Payer(report.company_id, head["method"])
    sources = head["sources"].items()
    return [month for month, source in sources if payer.month(parse_month(month)).origin != source]


@group.command("recount")
@click.option("--company", help="Only of this company.")
@handle_cli_errors
@with_database
def recount(company: str | None) -> None:
    """Check the monthly sums against the streams; correct and list differences (exit 1)."""
    query = select(Ledger.company_id)
    chosen = [accounts.named_company(company).id] if company else db.session.scalars(query).all()
    wrong = [one for company_id in chosen for one in recount_sums(company_id)]
    for table, rows in wrong:
        click.echo(f"{table}: {rows} rows differed and were corrected.", err=True)
    if wrong:
        current_app.logger.warning("label revenue: monthly sums differed from the streams")
        raise SystemExit(1)
    click.echo(f"The monthly sums of {len(chosen)} companies match their streams.")
