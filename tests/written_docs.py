"""Pages of the documents that are written from the code: settings, commands, columns, errors.

`PYTHONPATH=. .venv/bin/python tests/written_docs.py` writes them anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from flask.cli import ScriptInfo

from webapp import create_app
from webapp.config import Settings, Unit
from webapp.engine.shapes import Column, Sheet
from webapp.errors import ERROR_TYPES
from webapp.kinds import KINDS

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- written by tests/written_docs.py -->", "<!-- end -->"
# Heads of results with all that tables and columns depend on, by what is asked for.
HEADS: dict[str, dict[str, dict[str, Any]]] = {
    "partner-use": {
        "`mode=summary`": {"mode": "summary", "summary": {}},
        "`mode=monthly`": {"mode": "monthly", "start": "2025-01"},
    },
    "label-revenue": {
        "`details=false`": {"currency": "EUR", "method": "pool", "details": False},
        "`details=true`": {"currency": "EUR", "method": "pool", "details": True},
    },
    "inventory": {"all": {"base_period": {"id": ""}}},
    "project-storage": {"all": {"unit": "GB", "whose": "mine"}},
    "session-activity": {
        f"`by={by}`": {"by": by, "group_by": "month"}
        for by in ("login", "computer", "room", "event")
    },
}


class NoRows:
    """A result of which only the head is known: enough to know its columns."""

    company_id = ""

    def __init__(self, head: dict[str, Any]) -> None:
        self.head = head

    def rows(self, _table: str) -> Iterator[dict[str, Any]]:
        return iter(())


def settings() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, default, unit and help of every setting."""
    for name, field in Settings.model_fields.items():
        unit = next((one.name for one in field.metadata if isinstance(one, Unit)), "")
        default = str(field.default)
        yield (
            name,
            default.lower() if field.annotation is bool else default,
            unit,
            (field.description or ""),
        )


def settings_page() -> str:
    """Return docs/settings.md as it has to be."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {unit} | {about} |"
        for name, default, unit, about in settings()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Read from the environment; each also as `NAME_FILE`, the path of a file with the",
            "value. A setting that cannot be used ends the program at its start, by name. This",
            "table is written from `webapp/config.py`.",
            "",
            "| variable | default | unit | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def commands_page() -> str:
    """Return docs/commands.md as it has to be."""
    lines = [
        "# Commands",
        "",
        "What `make install` gives as `.venv/bin/flask`, and `pip install .` as",
        "`partner-use-report`. `--help` behind any of them says the same. Exit codes: 0 done, 1",
        "failed, 2 bad input; of `report` and `definitions run` 3 is an incomplete result. This",
        "page is written from the commands.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        app = create_app({"DATA_DIR": folder, "REDIS_URL": "redis://127.0.0.1:1/0"})
        info = ScriptInfo(create_app=lambda: app)
        with app.app_context(), click.Context(app.cli, info_name="flask", obj=info) as root:
            for name, command in sorted(app.cli.commands.items()):
                # Flask's own for developers are not the program's.
                if name not in {"run", "shell", "routes"} and not command.hidden:
                    lines += _command_lines(command, root, name)
    return "\n".join([*lines, ""])


def _command_lines(command: click.Command, above: click.Context, name: str) -> Iterator[str]:
    context = command.make_context(name, [], parent=above, resilient_parsing=True)
    # A group of a package stands for itself until its context is made.
    command = context.command
    told = (command.help or "").partition("\n\n")[0].replace("\n", " ")
    if isinstance(command, click.Group):
        yield from ("", f"## `{context.command_path}`", told)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            # Of the commands of migrations one is for who runs the program.
            if found is None or found.hidden or (name == "db" and inner != "upgrade"):
                continue
            yield from _command_lines(found, context, inner)
        return
    mark = "##" if above.parent is None else "###"
    usage = " ".join(command.collect_usage_pieces(context)).replace("[OPTIONS]", "").strip()
    yield from ("", f"{mark} `{f'{context.command_path} {usage}'.strip()}`", told)
    records = [
        record
        for param in command.params
        if isinstance(param, click.Option) and (record := param.get_help_record(context))
    ]
    if records:
        yield from ("", "| option | meaning |", "| --- | --- |")
        for option, text in records:
            yield f"| `{option.replace('|', ', ')}` | {text.replace('|', ', ')} |"


def columns_page() -> str:
    """Return docs/columns.md as it has to be."""
    lines = [
        "# Columns",
        "",
        "The tables of each kind's result as pages show them, then those of CSV and XLSX, which",
        "have fixed columns. A CSV is the first of that list, or the one that `?by=` names; an",
        "XLSX has a sheet for each. The JSON is on the page of each kind. A table or column is",
        "there only if the report was asked for it.",
        "",
        "Types: `decimal` is a number with a decimal point, also in JSON; `id` is text, also",
        "where it has only digits; `month` is `YYYY-MM`; moments are UTC. This page is written",
        "from the kinds.",
    ]
    for kind in KINDS:
        heads = HEADS[kind.slug]
        lines += ["", f"## {kind.title}", f"`{kind.slug}`: {kind.description or kind.title}"]
        tables: dict[str, dict[str, Column]] = {}
        sheets: dict[tuple[str, str], list[str]] = {}
        for asked, head in heads.items():
            for table in kind.tables(head):
                columns = {one.name: one for one in table.columns}
                tables[table.name] = columns | tables.get(table.name, {})
            for sheet in kind.sheets(NoRows(head)):
                sheets.setdefault((sheet.name, _names(sheet)), []).append(asked)
        for name, columns in tables.items():
            lines += ["", f"### {kind.title}: `{name}`", ""]
            lines += ["| column | heading | type | unit |", "| --- | --- | --- | --- |"]
            lines += [
                f"| `{one.name}` | {one.label} | {one.type} | {one.unit} |"
                for one in columns.values()
            ]
        lines += ["", f"### {kind.title}: CSV and XLSX", ""]
        lines += ["| `?by=` | columns | reports |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {columns} | {'all' if len(found) == len(heads) else ', '.join(found)} |"
            for (name, columns), found in sheets.items()
        ]
    return "\n".join([*lines, ""])


def _names(sheet: Sheet) -> str:
    beside = ", ".join(f"`{one.name}`" for one in sheet.beside)
    names = ", ".join(f"`{one.name}`" for one in sheet.columns)
    return f"{names}; in XLSX also {beside}" if beside else names


def api_page() -> str:
    """Return docs/api.md with the table of the types of errors as it has to be."""
    before, begin, rest = (DOCS / "api.md").read_text("utf-8").partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    rows = [
        f"| `{slug}` | {kind.status} | {kind.when} | {kind.then} |\n"
        for slug, kind in ERROR_TYPES.items()
    ]
    head = "| type | status | when | what to do |\n| --- | --- | --- | --- |\n"
    return before + begin + head + "".join(rows) + end + after


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "columns.md": columns_page,
}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
        print(f"wrote docs/{page}")
