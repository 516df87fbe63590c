"""Rows that cannot be used: told by file, line and column, and kept in a CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

from webapp.errors import InvalidParams
from webapp.lib.texts import counted, safe_text

PROBLEMS_SHOWN = 100


class Problem(NamedTuple):
    """What is wrong with one row: where it stands, in which column, and a sentence."""

    file: str
    line: int
    column: str
    sentence: str
    row: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence}"

    @property
    def place(self) -> str:
        """File, line and column, as sentences name them."""
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}, line {self.line}{column}"


class LoadRefused(InvalidParams):
    """422: rows that cannot be used, each by file, line and column; nothing was loaded."""

    def __init__(self, problems: list[Problem], total: int) -> None:
        errors = {one.place: one.sentence for one in problems}
        if total > len(problems):
            errors["…"] = f"and {total - len(problems):,} more."
        super().__init__(errors, f"{counted(total, 'row')} cannot be used; nothing was loaded.")
        self.problems = problems
        self.total = total


class Rejects:
    """Collects bad rows: the first for the reader, all of them in a file where that is wanted."""

    def __init__(self, path: Path | None = None) -> None:
        self.shown: list[Problem] = []
        self.total = 0
        self._path = path
        self._file: Any = None
        self._writer: Any = None

    def __call__(self, problem: Problem) -> None:
        self.total += 1
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(problem)
        if self._path is None:
            return
        if self._writer is None:
            try:
                self._file = self._path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                sentence = f"{self._path} cannot be written: {error.strerror}."
                raise InvalidParams({"rejected": sentence}) from error
            self._writer = csv.writer(self._file)
            self._writer.writerow(["file", "line", "column", "problem", "row"])
        texts = (problem.file, problem.column, problem.sentence, ";".join(problem.row))
        file, *others = map(safe_text, texts)
        self._writer.writerow([file, problem.line, *others])

    def close(self) -> None:
        """Close the file of rejected rows, where there is one."""
        if self._file is not None:
            self._file.close()
