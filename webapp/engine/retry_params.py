"""What a report is tried again with: the parameters it has, and the way in that is sent anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.engine.kind import ReportKind
from webapp.engine.params import read_params
from webapp.errors import InvalidParams

DIFFERS = "A retry keeps what the report was asked with; ask for a new report to change this."


def retried_params(
    kind: ReportKind, stored: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters to run with, secrets among them.

    stored: the report's own, without secrets
    given:  what the retry sends: only a way in, or all that the report was asked with once more
    Raises: InvalidParams with a sentence per field that says something else than the report
    """
    sent = {name: value for name, value in given.items() if value is not None and value != ""}
    again = _without_ways_left(kind, stored, sent) | sent
    public = read_params(kind, again).public
    differing = [
        name
        for name in sent
        if name not in kind.retry_params and public.get(name) != stored.get(name)
    ]
    if differing:
        raise InvalidParams(dict.fromkeys(differing, DIFFERS))
    return again


def _without_ways_left(
    kind: ReportKind, stored: Mapping[str, Any], sent: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the stored parameters without those of the ways in that another one now replaces."""
    taken = [
        way for way in kind.credential_options if way & set(sent) and way <= set(sent) | set(stored)
    ]
    if not taken:
        return dict(stored)
    left = set().union(*kind.credential_options).difference(*taken)
    return {name: value for name, value in stored.items() if name not in left}
