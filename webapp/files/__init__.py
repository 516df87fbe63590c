"""files: bytes that outlive the process that wrote them, for every web process and worker.

What people upload and what reports make lies in the database in chunks, or with FILES_URL in an
object store (`objects.py`); never in a folder of one machine. `store_file` writes one,
`read_chunks` reads it a piece at a time on connections of its own, `as_path` lends a copy on this
machine for as long as a block runs. Files of a report end with it; `drop_files` and `sweep` remove
the others.
"""

from webapp.files.store import (
    FileChunk,
    FileObject,
    StoredFile,
    as_path,
    drop_files,
    read_chunks,
    store_file,
    sweep,
)

__all__ = [
    "FileChunk",
    "FileObject",
    "StoredFile",
    "as_path",
    "drop_files",
    "read_chunks",
    "store_file",
    "sweep",
]
