"""Documents as PDF: every common script, tables over pages, marks of a good PDF."""

from __future__ import annotations

import io
from typing import Any

import pypdf
import pytest

from webapp.engine.kind import Column
from webapp.lib.pdf import chart, facts, paragraph, table, write_pdf

COLUMNS = (
    Column("name", "Name"),
    Column("count", "Lines", "integer"),
    Column("tonnes", "Emissions", "decimal", "t CO2e", places=1),
)
SCRIPTS = {
    "Chinese": "东京碳排放",
    "Japanese": "ひらがなカタカナ",
    "Korean": "한국어",
    "Arabic": "العربية",
    "Hebrew": "עברית",
    "Devanagari": "हिन्दी",
    "Thai": "ภาษาไทย",
    "Bengali": "বাংলা",
    "Tamil": "தமிழ்",
    "Greek and Cyrillic": "Ελλάδα Київ",
    "Amharic": "አማርኛ",
}


def made(*blocks: dict[str, Any], title: str = "A statement", **more: Any) -> pypdf.PdfReader:
    file = io.BytesIO()
    write_pdf(file, title, blocks, **more)
    return pypdf.PdfReader(file)


def text_of(reader: pypdf.PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages)


def test_every_page_has_its_number_and_the_header_of_a_table() -> None:
    rows = [{"name": f"Line {n}", "count": n, "tonnes": n / 3} for n in range(120)]
    reader = made(paragraph("Words."), table("Sums", COLUMNS, rows), footer="Acme, 2025")
    assert len(reader.pages) > 1
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        assert f"Page {number} of {len(reader.pages)}" in text
        assert "Acme, 2025" in text
        assert "Emissions (t CO2e)" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "1,000" not in text_of(reader)
    assert "39.7" in text_of(reader)


def test_a_document_says_what_it_is() -> None:
    reader = made(
        facts([("Made by", "Ann")], "About"),
        table("Sums", COLUMNS, [{"name": "Total", "count": None}], bold={"Total"}),
        title="Statement 東京",
        author="Ann",
        subject="Greenhouse gases",
    )
    assert reader.metadata is not None
    said = reader.metadata
    assert (said.title, said.author, said.subject) == ("Statement 東京", "Ann", "Greenhouse gases")
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert b"pdfuaid:part>1<" in root["/Metadata"].get_data()
    (top,) = [one for one in reader.outline if not isinstance(one, list)]
    (below,) = [one for one in reader.outline if isinstance(one, list)]
    assert top.title == "Statement 東京"
    assert [one.title for one in below] == ["About", "Sums"]


@pytest.mark.parametrize(("paper", "size"), [("a4", (595, 842)), ("us-letter", (612, 792))])
def test_a_document_is_on_a4_or_letter(paper: Any, size: tuple[int, int]) -> None:
    upright, across = made(paper=paper), made(paper=paper, landscape=True)
    for reader, wanted in ((upright, size), (across, size[::-1])):
        box = reader.pages[0].mediabox
        assert (round(box.width), round(box.height)) == wanted


def test_every_common_script_is_shown_by_an_embedded_font() -> None:
    reader = made(facts(SCRIPTS.items()))
    # With a character that no font has, it would not be PDF/UA.
    assert b"pdfuaid:part>1<" in reader.trailer["/Root"]["/Metadata"].get_data()
    text = text_of(reader)
    for script in ("Chinese", "Japanese", "Korean", "Greek and Cyrillic", "Amharic"):
        assert SCRIPTS[script] in text
    fonts = [one.get_object() for one in reader.pages[0]["/Resources"]["/Font"].values()]
    for font in fonts:
        described = font["/DescendantFonts"][0].get_object()["/FontDescriptor"]
        assert "/FontFile2" in described


def test_words_are_never_read_as_markup_and_unknown_ones_are_boxes() -> None:
    words = "#panic() *bold* $x$ \\ [1] @a <b> \x01 \U0010ffff \u202edoc"
    text = text_of(made(paragraph(words), title="#let x = 1", author="]"))
    assert "#panic() *bold* $x$ \\ [1] @a <b>" in text
    # A mark that turns writing around ends with nothing.
    assert "doc" in text
    assert "#let x = 1" in text


def test_a_long_word_stays_in_its_column_and_long_tables_are_cut() -> None:
    rows = [{"name": "a" * 120, "count": 1, "tonnes": 1}, *({"name": f"{n}"} for n in range(9))]
    bars = chart("Bars", COLUMNS[2], [("b" * 120, (-0.04,))])
    reader = made(table("Sums", COLUMNS, rows, most_rows=4), bars)
    text = text_of(reader).replace("\N{ZERO WIDTH SPACE}", "")
    for letter in "ab":
        assert letter * 100 not in text
        assert text.count(letter) >= 120
    assert "-0.0" not in text
    assert "cut here after 4 rows; take the CSV" in text


def test_a_chart_is_told_to_those_who_cannot_see_it() -> None:
    bars = [("Scope 1", (10, 20.5)), ("Scope 2", (-3, None))]
    reader = made(chart("By scope", COLUMNS[2], bars, ("2025", "2024")))
    text = text_of(reader)
    for words in ("By scope (t CO2e)", "Scope 1", "10.0", "20.5", "-3.0", "2024"):
        assert words in text
    data = b"".join(
        one.get_object().get("/Alt", "").encode()
        for one in (reader.get_object(n) for n in range(1, len(reader.xref[0]) + 1))
        if isinstance(one, dict) and "/Alt" in one
    )
    assert b"Scope 1: 10.0 against 20.5; Scope 2: -3.0 against" in data
