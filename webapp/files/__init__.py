"""files: bytes that outlive the process that wrote them, for every web process and worker.

What people upload and what reports make lies in the database in chunks, or with FILES_URL in an
object store (`objects.py`); never in a folder of one machine. `store_file` writes one,
`read_chunks` reads it a piece at a time on connections of its own, `as_path` lends a copy on this
machine for as long as a block runs. Files of a report end with it; `drop_files` and `sweep` remove
the others.
"""

from webapp.files.store import FileChunk as FileChunk
from webapp.files.store import FileObject as FileObject
from webapp.files.store import StoredFile as StoredFile
from webapp.files.store import as_path as as_path
from webapp.files.store import drop_files as drop_files
from webapp.files.store import read_chunks as read_chunks
from webapp.files.store import store_file as store_file
from webapp.files.store import sweep as sweep
