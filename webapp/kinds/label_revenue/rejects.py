"""Rows that cannot be used: collected, told by file, line and column, written down, or refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from webapp.engine.export import safe_text
from webapp.errors import InvalidParams
from webapp.kinds.label_revenue.rows import Problem

PROBLEMS_SHOWN = 100


class LoadRefused(InvalidParams):
    """422: rows that cannot be used, each by file, line and column; nothing was loaded."""

    def __init__(self, problems: list[Problem], total: int) -> None:
        errors = {
            f"{one.file}, line {one.line}" + (f", column {one.column}" if one.column else ""): (
                one.sentence
            )
            for one in problems
        }
        if total > len(problems):
            errors["…"] = f"and {total - len(problems):,} more."
        super().__init__(errors, f"{total:,} rows cannot be used; nothing was loaded.")
        self.problems = problems
        self.total = total


class DateOrderUnknown(InvalidParams):
    """422: the dates may be read in two ways, so somebody has to say which."""

    def __init__(self, name: str) -> None:
        super().__init__(
            {
                "date_order": f"No day in {name} is above 12, so 03/04/2025 may be 3 April or "
                "4 March. Say which: dmy or mdy."
            }
        )


class Rejects:
    """Collects bad rows: the first for the reader, all of them in a file where that is wanted."""

    def __init__(self, path: Path | None) -> None:
        self.shown: list[Problem] = []
        self.total = 0
        self._path = path
        self._file: Any = None
        self._writer: Any = None

    def __call__(self, problem: Problem) -> None:
        self.total += 1
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(problem)
        if self._path is not None:
            self._write(problem)

    def _write(self, problem: Problem) -> None:
        if self._writer is None and self._path is not None:
            try:
                self._file = self._path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                sentence = f"{self._path} cannot be written: {error.strerror}."
                raise InvalidParams({"rejected": sentence}) from error
            self._writer = csv.writer(self._file)
            self._writer.writerow(["file", "line", "column", "problem", "row"])
        file, column = safe_text(problem.file), safe_text(problem.column)
        sentence, row = safe_text(problem.sentence), safe_text(";".join(problem.row))
        self._writer.writerow([file, problem.line, column, sentence, row])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
