"""What the commands of all rooms share: errors as sentences, a database that is up to date, a bar.

The commands themselves stand in `webapp.cli`, in the rooms and in the kinds.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import click
from sqlalchemy.exc import SQLAlchemyError

from webapp.databases import AWAY, FULL, is_newest, trouble_of
from webapp.errors import InvalidParams, NotFound, ReportError
from webapp.extensions import MIGRATIONS, db
from webapp.installation import check_key
from webapp.security import secret_keys

P = ParamSpec("P")
R = TypeVar("R")
BAR_WIDTH = 24
NO_SPACE = "The disk is full: nothing was kept of what did not fit. Make room, and try again."


def handle_cli_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a room raises into sentences on stderr, exit code 2 for bad input and 1 else."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except InvalidParams as error:
            for name, sentence in error.errors.items():
                click.echo(f"{name}: {sentence}", err=True)
            raise SystemExit(2) from None
        except ReportError as error:
            click.echo(error.message, err=True)
            # A name that nothing has is bad input, whichever room looked for it.
            raise SystemExit(2 if isinstance(error, NotFound) else 1) from None
        except SQLAlchemyError as error:
            trouble = trouble_of(error)
            if trouble in {None, AWAY}:
                trouble = (
                    f"The database cannot be used ({type(error).__name__}): "
                    "is DATABASE_URL right, and was `flask db upgrade` run?"
                )
            click.echo(trouble, err=True)
            raise SystemExit(1) from None
        except sqlite3.Error as error:
            trouble = trouble_of(error)
            if trouble is None:
                raise
            # The file that is full may be another one than the database's.
            click.echo(NO_SPACE if trouble == FULL else trouble, err=True)
            raise SystemExit(1) from None
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                click.echo(NO_SPACE, err=True)
            elif error.filename:
                click.echo(f"{error.filename}: {error.strerror}.", err=True)
            else:
                raise
            raise SystemExit(1) from None

    return wrapped


def with_database(command: Callable[P, R]) -> Callable[P, R]:
    """Bring the embedded database up to date first; a server's is the operator's to upgrade."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if db.engine.dialect.name == "sqlite" and not is_newest(db.engine, MIGRATIONS):
            from flask_migrate import upgrade

            upgrade(revision="heads")
        check_key(db.engine, *secret_keys())
        return command(*args, **kwargs)

    return wrapped


@contextmanager
def progress_bar(*, only_at_a_terminal: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Yield what draws `(done, total, text)` on stderr; `total` 0 is one that is not known yet.

    At a terminal the bar is redrawn in place; elsewhere each call writes a line, or nothing.
    """
    texts = [""]
    in_place = sys.stderr.isatty()
    room = max(shutil.get_terminal_size().columns - BAR_WIDTH - 20, 10) if in_place else None
    with click.progressbar(
        range(1),
        file=sys.stderr,
        width=BAR_WIDTH,
        bar_template="[%(bar)s] %(info)s",
        info_sep=" ",
        show_pos=True,
        show_eta=False,
        show_percent=False,
        item_show_func=lambda _: texts[-1],
        hidden=not in_place,
    ) as bar:

        def draw(done: int, total: int, text: str) -> None:
            bar.pos, bar.length = done, total or None
            texts[:] = [text.replace("\n", " ")[:room]]
            if in_place:
                bar.render_progress()
            elif not only_at_a_terminal:
                click.echo(bar.format_progress_line(), err=True)

        yield draw
