"""Texts of strangers: what a database takes, and what becomes of the rest."""

from __future__ import annotations

import pytest

from webapp.lib.texts import made_storable, storable


@pytest.mark.parametrize("text", ["", "a", "é", "\U0001f600", "\ud7ff\ue000", "\x01\x7f"])
def test_a_text_is_left_as_it_is(text: str) -> None:
    assert storable(text)
    assert made_storable(text) == text


@pytest.mark.parametrize(
    ("text", "made"),
    [("a\x00b", "ab"), ("\ud800", "?"), ("x\udfffy\x00", "x?y"), ("\ud83d\ude00", "??")],
)
def test_what_no_database_takes_is_found_and_left_out(text: str, made: str) -> None:
    assert not storable(text)
    assert made_storable(text) == made
    assert made.encode("utf-8")
