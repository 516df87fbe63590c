"""A connection to a site that breaks in the middle of an event stream."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class BreakingLine:
    """A connection to a site that breaks once, in the middle of an event stream."""

    def __init__(self, port: int, after_lines: int) -> None:
        self._to, self._after = port, after_lines
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.resumed: list[bytes] = []
        self._broken = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            for source, sink, look in ((near, far, self._asked), (far, near, self._told)):
                pump = threading.Thread(target=self._pump, args=(source, sink, look), daemon=True)
                pump.start()
                self._threads.append(pump)

    def _pump(self, source: socket.socket, sink: socket.socket, look: Callable[..., int]) -> None:
        seen = b""
        with suppress(OSError):
            while chunk := source.recv(4096):
                passed = look(seen, chunk)
                sink.sendall(chunk[:passed])
                if passed < len(chunk):
                    break
                seen += chunk
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _asked(self, seen: bytes, chunk: bytes) -> int:
        self.resumed += re.findall(rb"Last-Event-ID: (\d+)", chunk)
        return len(chunk)

    def _told(self, seen: bytes, chunk: bytes) -> int:
        """Return how much of a piece passes: all, or up to the middle of the event that is cut."""
        cuts = [found.start() for found in re.finditer(rb"\nid: ", seen + chunk)]
        if self._broken.is_set() or len(cuts) < self._after:
            return len(chunk)
        self._broken.set()
        return max(cuts[self._after - 1] - len(seen), 0)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)


@contextmanager
def breaking_line(port: int, after_lines: int) -> Iterator[BreakingLine]:
    line = BreakingLine(port, after_lines)
    try:
        yield line
    finally:
        line.close()
