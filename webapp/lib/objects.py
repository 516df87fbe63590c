"""Files in an object store or a folder, by URL: put in parts, read in ranges, removed.

The library is loaded at the first use, so that an installation that keeps its files in the database
does not carry it; and because its threads do not outlive a fork, never in a process that forks
others, such as the worker that makes one for each job. It reads credentials and endpoints from the
store's own environment. What it says of an error may hold keys and signatures: only the status and
the store's word for it go further.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from webapp.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# S3 takes no smaller part but the last; one is in flight while the next is filled.
PART_BYTES = 5 * 1024 * 1024
# Each range is a request of its own, so that a slow reader keeps no connection open.
RANGE_BYTES = 1024 * 1024
RETRIES, RETRIED_FOR = 2, timedelta(seconds=10)
AWAY = "The store of the files is not available ({}). Try again in a moment."

log = logging.getLogger(__name__)


def put_object(url: str, path: str, chunks: Iterable[bytes]) -> None:
    """Store an object part by part; what `chunks` raises ends it and leaves nothing behind.

    Raises: Unavailable
    """
    with _sentences(url):
        import obstore

        obstore.put(
            _open_store(url),
            path,
            iter(chunks),
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=1,
        )


def read_object(url: str, path: str, size_bytes: int) -> Iterator[bytes]:
    """Return an object's bytes by ranges; it just ends where the object is removed meanwhile.

    The first range is read at once: Raises Unavailable, NotFound
    """
    with _sentences(url):
        store = _open_store(url)
        try:
            first = _range(store, path, 0, size_bytes)
        except FileNotFoundError:
            raise NotFound("The file is gone.") from None

    def others() -> Iterator[bytes]:
        start = len(first)
        while start < size_bytes:
            with _sentences(url):
                try:
                    data = _range(store, path, start, size_bytes)
                except FileNotFoundError:
                    return
            yield data
            start += len(data)

    return chain([first], others())


def _range(store: ObjectStore, path: str, start: int, end: int) -> bytes:
    import obstore

    wanted = min(RANGE_BYTES, end - start)
    return bytes(obstore.get_range(store, path, start=start, length=wanted)) if wanted else b""


def remove_object(url: str, path: str) -> None:
    """Remove an object; one that is gone already is as good. Raises: Unavailable"""
    with _sentences(url), suppress(FileNotFoundError):
        import obstore

        obstore.delete(_open_store(url), path)


def _open_store(url: str) -> ObjectStore:
    from obstore.store import from_url

    if url.startswith("file:"):
        return from_url(url, mkdir=True, automatic_cleanup=True)
    patience: Any = {"max_retries": RETRIES, "retry_timeout": RETRIED_FOR}
    return from_url(url, retry_config=patience)


@contextmanager
def _sentences(url: str) -> Iterator[None]:
    """Turn the library's errors into one sentence, and one line for the operator."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        # The status and the store's own code; of all other words none can be trusted.
        status = re.search(r"status code: (\d{3})", str(error))
        code = re.search(r"<Code>([A-Za-z]{1,60})</Code>", str(error))
        words = ([f"HTTP {status[1]}"] if status else []) + ([code[1]] if code else [])
        reason = " ".join(words) or type(error).__name__
        log.warning("the store of files at %s failed: %s", url, reason)
        raise Unavailable(AWAY.format(reason)) from None
