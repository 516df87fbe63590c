"""Files as people send them: columns of two made-up kinds, workbooks part by part."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from webapp.intake import Field

FIELDS = (
    Field("day", "day", "date", words=("date", "datum")),
    Field("who", "who", "integer", words=("user id",)),
    Field("amount", "amount", "decimal", words=("fee", "Betrag", "quantité")),
    Field("note", "note", required=False, takes_notes=True),
)
TRANSITIONAL = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
)
STRICT = (
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
    "http://purl.oclc.org/ooxml/officeDocument/relationships",
)
HEADER = (
    '<row r="1"><c r="A1" t="inlineStr"><is><t>day</t></is></c>'
    '<c r="B1" t="inlineStr"><is><t>who</t></is></c>'
    '<c r="C1" t="inlineStr"><is><t>amount</t></is></c>'
    '<c r="D1" t="inlineStr"><is><t>note</t></is></c></row>'
)


def workbook(
    *sheets: str,
    names: tuple[str, ...] = ("One", "Two", "Three"),
    hidden: tuple[str, ...] = (),
    namespaces: tuple[str, str] = TRANSITIONAL,
    shared: str = "",
    since_1904: bool = False,
    prefix: str = "",
) -> bytes:
    """Return a workbook of sheets, each given as the XML of its rows."""
    main, relations = namespaces
    package = "http://schemas.openxmlformats.org/package/2006"
    listed = links = ""
    for number, name in enumerate(names[: len(sheets)], start=1):
        state = ' state="hidden"' if name in hidden else ""
        listed += f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"{state}/>'
        links += (
            f'<Relationship Id="rId{number}" Type="{relations}/worksheet" '
            f'Target="worksheets/sheet{number}.xml"/>'
        )
    if shared:
        links += f'<Relationship Id="s" Type="{relations}/sharedStrings" Target="/xl/shared.xml"/>'
    properties = '<workbookPr date1904="1"/>' if since_1904 else "<workbookPr/>"
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}">{properties}'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{links}'
        "</Relationships>",
    }
    if shared:
        parts["xl/shared.xml"] = f'<sst xmlns="{main}">{shared}</sst>'
    for number, rows in enumerate(sheets, start=1):
        declared = f'xmlns:{prefix}="{main}"' if prefix else f'xmlns="{main}"'
        mark = f"{prefix}:" if prefix else ""
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f"<{mark}worksheet {declared}><{mark}sheetData>{rows}</{mark}sheetData>"
            f"</{mark}worksheet>"
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{part}')
    return content.getvalue()


def kept(folder: Path, content: str | bytes, name: str = "file") -> Path:
    """Return a file with this content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
