"""A file that is one long JSON list, item by item and in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson

from webapp.intake.text import BadFile, detect_encoding

PIECE_CHARS = 1 << 16
LONGEST_ITEM_CHARS = 1 << 20


def json_items(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line it begins in, item) of a file that is one JSON list, without holding all of it.

    Raises: BadFile with the line where it stops being one
    """
    done: Any = ijson.sendable_list()
    parser = ijson.items_coro(done, "item")
    is_list, begins, waiting, line = False, 0, 0, 1
    try:
        for line, piece in _pieces(path):
            text = piece.strip("\ufeff \t\r\n")
            is_list = is_list or text.startswith("[")
            if text and not is_list:
                raise BadFile("The file is not a JSON list.", line)
            if text not in {"", "[", ","}:
                begins = begins or line
            parser.send(piece.encode())
            waiting += len(piece)
            if waiting > LONGEST_ITEM_CHARS and not done:
                raise BadFile("This is not valid JSON, or one item is very long.", line)
            for item in done:
                yield begins or line, item
                begins = line
            if done:
                # Behind `},` the next item begins in a later line, behind `}, {` it has begun.
                begins = 0 if text.endswith((",", "}", "]")) else line
                waiting = 0
                done.clear()
        parser.close()
    except (ijson.JSONError, ValueError) as error:
        raise BadFile("This is not valid JSON.", line) from error


def _pieces(path: Path) -> Iterator[tuple[int, str]]:
    encoding = detect_encoding(path)
    line = 1
    try:
        with path.open(encoding=encoding, newline="") as file:
            while piece := file.readline(PIECE_CHARS):
                yield line, piece
                line += piece.endswith("\n")
    except UnicodeError as error:
        sentence = f"The file is not {encoding} text; save it as UTF-8."
        raise BadFile(sentence, line) from error
