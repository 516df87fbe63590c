"""A file that is one long JSON list, item by item and in constant memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webapp.kinds.label_revenue.formats import BadFile, detect_encoding

CHUNK_CHARS = 1 << 16
LONGEST_OBJECT = 1 << 20


def json_items(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line, item) of a file that is one JSON list, without holding all of it.

    Raises: BadFile with the line where it stops being one
    """
    encoding = detect_encoding(path)
    decoder = json.JSONDecoder()
    with path.open("rb") as raw:
        chunks = _decoded(raw, encoding)
        text, line, inside, wants_item = "", 1, False, True
        for chunk, is_last in chunks:
            text += chunk
            at = 0
            while True:
                start = _after_space(text, at)
                line += text.count("\n", at, start)
                at = start
                if at >= len(text):
                    break
                if not inside:
                    if text[at] != "[":
                        raise BadFile("The tracks are not a JSON list.", line)
                    inside, at = True, at + 1
                elif text[at] == "]":
                    _nothing_more(text[at + 1 :], chunks, line)
                    return
                elif text[at] == "," and not wants_item:
                    at, wants_item = at + 1, True
                elif not wants_item:
                    raise BadFile("A comma is missing between two tracks.", line)
                else:
                    try:
                        item, end = decoder.raw_decode(text, at)
                    except (json.JSONDecodeError, RecursionError) as error:
                        if is_last or len(text) - at > LONGEST_OBJECT:
                            raise BadFile("This is not valid JSON.", line) from error
                        break
                    if end == len(text) and not is_last:
                        break  # a number may go on in the next chunk
                    yield line, item
                    line += text.count("\n", at, end)
                    at, wants_item = end, False
            text = text[at:]
        raise BadFile("The JSON list has no end.", line)


def _decoded(raw: Any, encoding: str) -> Iterator[tuple[str, bool]]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := raw.read(CHUNK_CHARS):
            yield decoder.decode(chunk), False
        yield decoder.decode(b"", final=True), True
    except UnicodeError as error:
        raise BadFile(f"The file is not {encoding} text; save it as UTF-8.") from error


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n\ufeff":
        at += 1
    return at


def _nothing_more(rest: str, chunks: Iterator[tuple[str, bool]], line: int) -> None:
    if rest.strip() or any(chunk.strip() for chunk, _ in chunks):
        raise BadFile("There is more after the end of the JSON list.", line)
