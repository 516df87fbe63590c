"""A small S3 on loopback: one bucket, objects in memory, whole and in parts, read by ranges."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Bucket:
    """What lies in the bucket, what was asked for, and how it is broken: by a status of all."""

    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    broken: int = 0
    port: int = 0

    def environ(self) -> dict[str, str]:
        """Return what an operator would set for this store."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIATESTS",
            "AWS_SECRET_ACCESS_KEY": "the-secret-of-the-store",
        }

    def answer(self, method: str, key: str, query: dict[str, str], body: bytes) -> bytes | None:
        """Do what is asked for; None: there is no such thing."""
        upload = query.get("uploadId", "")
        if method == "PUT" and upload:
            self.parts[upload][int(query["partNumber"])] = body
        elif method == "PUT":
            self.objects[key] = body
        elif method == "POST" and "uploads" in query:
            upload = f"upload-{len(self.asked)}"
            self.parts[upload] = {}
            return _xml("InitiateMultipartUpload", f"<UploadId>{upload}</UploadId>")
        elif method == "POST" and upload:
            parts = self.parts.pop(upload)
            self.objects[key] = b"".join(parts[number] for number in sorted(parts))
            return _xml("CompleteMultipartUpload", f"<ETag>{len(parts)}</ETag>")
        elif method == "POST" and "delete" in query:
            gone = [unquote(one) for one in re.findall(r"<Key>(.*?)</Key>", body.decode())]
            bucket = key.partition("/")[0]
            for one in gone:
                self.objects.pop(f"{bucket}/{one}", None)
            deleted = "".join(f"<Deleted><Key>{one}</Key></Deleted>" for one in gone)
            return b"<DeleteResult>" + deleted.encode() + b"</DeleteResult>"
        elif method == "DELETE":
            self.parts.pop(upload, None) if upload else self.objects.pop(key, None)
        else:
            return self.objects.get(key)
        return b""


def _xml(action: str, content: str) -> bytes:
    return f"<{action}Result>{content}</{action}Result>".encode()


@contextmanager
def serving_bucket() -> Iterator[Bucket]:
    """Serve a bucket on loopback until the end of the block."""
    bucket = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            query = {name: one[0] for name, one in parse_qs(parts.query, True).items()}
            key = unquote(parts.path).strip("/")
            bucket.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
            found = None if bucket.broken else bucket.answer(self.command, key, query, body)
            status = bucket.broken or (404 if found is None else 200)
            content = found or b""
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            self.send_response(206 if wanted and status == 200 else status)
            if wanted and status == 200:
                start, end = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
                content = content[start : end + 1]
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bucket.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()
