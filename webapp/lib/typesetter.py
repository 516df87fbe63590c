"""A program of its own: typesets the document on its standard input, see `pdf.py`.

It imports nothing of the application, so it takes 50 MB where the application would be 150.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

import typst

HERE = Path(__file__).parent


def main() -> None:
    """Read the data of a document, write the PDF."""
    data = json.load(sys.stdin.buffer)
    made_at = datetime.fromisoformat(data.pop("made_at"))
    fonts = typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(HERE / "fonts")]
    )
    data["fonts"] = [one for one in fonts.families() if one != "DejaVu Sans"]
    # PDF/UA refuses a text with a character that no font has; it is shown as a box then.
    for standards in ("ua-1", "1.7"):
        try:
            made = typst.compile(
                HERE / "document.typ",
                font_paths=fonts,
                sys_inputs={"data": json.dumps(data)},
                pdf_standards=[standards],
                timestamp=made_at,
            )
        except typst.TypstError:
            if standards == "1.7":
                raise
        else:
            sys.stdout.buffer.write(made)
            return


if __name__ == "__main__":
    main()
