"""Gathering facts and the report stand apart: a small contract between them, one way only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from webapp.kinds.label_revenue import models

FOLDER = Path(models.__file__).parent
PREFIX = "webapp.kinds.label_revenue"
# What the money knows of the rest, and what gathering may know of the report.
CONTRACT = {"facts", "ledger", "models", "periods", "sums"}
MONEY = ("balances", "breakdown", "compute", "payouts", "statement")
GATHERING = ("bulk", "in_force", "ledger", "loads", "quality", "repeats")


def uses(path: Path) -> Iterator[str]:
    """Yield the modules of this kind that a module uses, as `facts` or `report.compute`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            name = (node.module or "").removeprefix(PREFIX).strip(".")
            yield from [name] if name else [alias.name for alias in node.names]


def test_the_money_knows_the_facts_by_their_contract_alone() -> None:
    for name in MONEY:
        used = {one for one in uses(FOLDER / "report" / f"{name}.py") if "report" not in one}
        assert used <= CONTRACT, name


def test_gathering_knows_nothing_of_the_report() -> None:
    for name in (*GATHERING, "periods", "rows", "streams", "sums"):
        assert not {one for one in uses(FOLDER / f"{name}.py") if "report" in one}, name
