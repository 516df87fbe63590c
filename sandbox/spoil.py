"""Faults inside an answer that is well-formed on the wire: wrong counts, rows, names, hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.query import COUNT

Body = dict[str, Any]

HOSTILE_NAMES = (
    "x" * 10_000,
    "=cmd|' /C calc'!A0",
    "first line\r\nsecond line, \"quoted\"",
    "right \u202eto left\u202c \u200fmark",
    "lone \ud800 surrogate",
    "<script>alert(document.cookie)</script>",
    "\x00\x07 control \x1b[31mcharacters",
    "@SUM(1+1)*cmd",
    "{{ 7*7 }} ${7*7} %n %s",
    "'; DROP TABLE reports; --",
)  # fmt: skip
HOSTILE_DOMAIN = "evil.example/#"


def spoil(fault: str, body: Body) -> Body:
    """Return the answer with one fault in it."""
    return SPOILERS[fault](body)


def _count(change: Callable[[int], object]) -> Callable[[Body], Body]:
    def spoiler(body: Body) -> Body:
        for row in body.get("results", []):
            if COUNT in row:
                row[COUNT] = change(row[COUNT])
        return body

    return spoiler


def _without(name: str) -> Callable[[Body], Body]:
    def spoiler(body: Body) -> Body:
        body.pop(name, None)
        return body

    return spoiler


def _two_rows(body: Body) -> Body:
    return body | {"results": body.get("results", []) * 2, "objectsCount": 2}


def _no_rows(body: Body) -> Body:
    return body | {"results": [], "objectsCount": 0}


def _fewer_rows(body: Body) -> Body:
    rows = body.get("results", [])[:-1]
    return body | {"results": rows, "objectsCount": len(rows)}


def _sites(body: Body) -> list[Body]:
    return [site for entry in body.get("sites", []) for site in entry["sites"]]


def _named(body: Body) -> list[Body]:
    return _sites(body) if "sites" in body else [body]


def _hostile_names(body: Body) -> Body:
    for place, one in enumerate(_named(body)):
        name = HOSTILE_NAMES[place % len(HOSTILE_NAMES)]
        one |= {key: name for key in ("baseDomain", "description") if key in one}
    return body


def _duplicate_sites(body: Body) -> Body:
    for entry in body.get("sites", []):
        entry["sites"] = [site for site in entry["sites"] for _ in range(2)]
    return body


def _foreign_partner(body: Body) -> Body:
    stranger = {"siteID": 1, "apiKey": "3_foreignforeign", "baseDomain": "foreign.example",
                "description": "", "dataCenter": "us1"}  # fmt: skip
    return body | {"sites": [{"partnerID": 66666666, "sites": [stranger]}, *body.get("sites", [])]}


def _data_center(value: str | None) -> Callable[[Body], Body]:
    def spoiler(body: Body) -> Body:
        for one in _named(body):
            one.pop("dataCenter", None)
            if value is not None:
                one["dataCenter"] = value
        return body

    return spoiler


SPOILERS: dict[str, Callable[[Body], Body]] = {
    "no-error-code": _without("errorCode"),
    "text-count": _count(str),
    "float-count": _count(lambda count: count + 0.5),
    "negative-count": _count(lambda count: -count - 1),
    "huge-count": _count(lambda count: 10**30 + count),
    "null-count": _count(lambda _: None),
    "two-rows": _two_rows,
    "no-rows": _no_rows,
    "fewer-rows": _fewer_rows,
    "missing-results": _without("results"),
    "duplicate-sites": _duplicate_sites,
    "hostile-names": _hostile_names,
    "no-data-center": _data_center(None),
    "hostile-data-center": _data_center(HOSTILE_DOMAIN),
    "foreign-partner": _foreign_partner,
}
