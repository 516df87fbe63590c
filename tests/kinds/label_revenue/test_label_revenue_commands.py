"""Commands, and tracks from a URL: patience, limits, and the last good copy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from flask import Flask
from label_revenue_files import SAMPLE
from sqlalchemy import select

from webapp.accounts import AuditEntry
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.label_revenue.uploads import fetch_tracks
from webapp.lib.public_addresses import PATIENT, PublicAdapter


class Server:
    """A server of tracks that answers what it is told to, the last answer again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = [(200, (SAMPLE / "tracks.json").read_bytes())]
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                more = len(outer.answers) > 1
                status, body = outer.answers.pop(0) if more else outer.answers[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/tracks.json"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


# As patient, without the waiting.
EAGER = PATIENT.new(backoff_factor=0, backoff_jitter=0)


def fetch(server: Server, folder: Path) -> tuple[bytes, str]:
    copy = folder / "copy.json"
    source, notes = fetch_tracks(server.url, copy, private_allowed=True, retry=EAGER)
    return source.path.read_bytes(), "".join(notes)


def test_a_server_in_trouble_is_asked_again_with_growing_pauses(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [(503, b""), (429, b""), (500, b""), *server.answers]
    body, note = fetch(server, tmp_path)
    assert body == (SAMPLE / "tracks.json").read_bytes()
    assert (note, server.asked) == ("", 4)
    server.answers = [(503, b"")]
    assert "answered 503" in fetch(server, tmp_path)[1]
    assert server.asked == 8
    pauses = []
    waiting = PATIENT
    for _ in range(3):
        waiting = waiting.increment("GET", "/", error=ConnectionError())
        pauses.append(waiting.get_backoff_time())
    assert pauses[0] <= 0.5 < pauses[1] <= 1.25 < pauses[2] <= 2.25


def test_the_last_good_copy_stands_in_for_a_server_that_is_away(
    server: Server, tmp_path: Path
) -> None:
    body, _ = fetch(server, tmp_path)
    for answer in ((503, b""), (200, b"<html>not tracks</html>")):
        server.answers = [answer]
        again, note = fetch(server, tmp_path)
        assert again == body
        assert "last good copy" in note


def test_without_a_copy_the_trouble_is_said(server: Server, tmp_path: Path) -> None:
    server.answers = [(404, b"")]
    with pytest.raises(InvalidParams, match="404"):
        fetch(server, tmp_path)
    assert server.asked == 1
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_is_followed_only_where_it_may(server: Server, tmp_path: Path) -> None:
    server.answers = [(302, b"/elsewhere"), *server.answers]
    assert fetch(server, tmp_path)[1] == ""
    server.answers = [(302, b"file:///etc/passwd")]
    with pytest.raises(InvalidParams, match="https"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("answer", [(404, b""), (403, b""), (302, b"/tracks.json")])
def test_the_last_good_copy_stands_in_for_tracks_that_are_gone(
    server: Server, tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    body, _ = fetch(server, tmp_path)
    server.answers, server.asked = [answer], 0
    again, note = fetch(server, tmp_path)
    assert (again, server.asked) == (body, 4 if answer[0] == 302 else 1)
    assert "last good copy" in note


def test_without_a_network_the_last_good_copy_is_used(tmp_path: Path) -> None:
    url, copy = "http://tracks.invalid/tracks.json", tmp_path / "copy.json"
    with pytest.raises(InvalidParams, match="no server of that name"):
        fetch_tracks(url, copy, private_allowed=False, retry=EAGER)
    copy.write_text("[]")
    source, [note] = fetch_tracks(url, copy, private_allowed=False, retry=EAGER)
    assert source.path.read_text() == "[]"
    assert "last good copy" in note
    with pytest.raises(InvalidParams, match="private network"):
        fetch_tracks("http://127.0.0.1/x", copy, private_allowed=False, retry=EAGER)


def test_nothing_is_asked_of_a_private_address_whatever_its_name_said(server: Server) -> None:
    with requests.Session() as session:
        session.mount("http://", PublicAdapter())
        with pytest.raises(InvalidParams, match="private network"):
            session.get(server.url, timeout=5)
    assert server.asked == 0


def run(app: Flask, *words: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["label-revenue", *words])
    return result.exit_code, result.output


def files(**given: str) -> list[str]:
    named = {"users": "users.csv", "streams": "streaming.csv", "tracks": "tracks.json"}
    paths = {role: str(SAMPLE / name) for role, name in named.items()} | given
    return [word for role, path in paths.items() for word in (f"--{role}", path)]


def test_load_unload_and_recount_by_command(app: Flask, server: Server) -> None:
    words = files(tracks=server.url)
    code, output = run(app, "load", *words, "--company", "Acme")
    assert code == 0, output
    assert "Loaded 8 streams, 6 listeners and 6 tracks" in output
    batch = output.strip().rsplit(" ", 1)[1]
    again, output = run(app, "load", *words, "--company", "Acme")
    assert (again, batch in output, "nothing changed" in output) == (0, True, True)
    assert run(app, "recount")[0] == 0
    assert run(app, "unload", batch)[0] == 0
    assert run(app, "unload", batch)[0] == 2
    assert run(app, "recount", "--company", "Acme")[0] == 0
    with app.app_context():
        entries = db.session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
        told = [one for one in entries if one.user_id is None]
    assert [one.action for one in told] == ["loaded", "undid load"]
    assert "8 streams, 6 listeners and 6 tracks" in told[0].subject
    assert told[0].address.startswith("command line")


def test_bad_input_is_a_sentence_and_exit_code_2(app: Flask, tmp_path: Path) -> None:
    streams = tmp_path / "s.csv"
    streams.write_text("date;user_id;region;track id;seconds\n01/02/2025;1;NL;A;5")
    for words, said in (
        (["load", *files(), "--company", "Nobody"], "no company"),
        (["load", "--company", "Acme"], "at least one"),
        (["load", *files(), "--company", "Acme", "--from-month", "May"], "YYYY-MM"),
        (["load", "--streams", str(streams), "--company", "Acme"], "Say which: dmy or mdy"),
        (["load", "--tracks", "missing.json", "--company", "Acme"], "There is no file"),
        (["load", *files(), "--company", "Acme", "--separator", ";;"], "one character"),
        (["load", *files(), "--company", "Acme", "--encoding", "klingon"], "no encoding of texts"),
        (["load", *files(), "--company", "Acme", "--encoding", "rot13"], "no encoding of texts"),
        (["load", *files(), "--company", "Acme", "--rejected", "no/such.csv"], "no folder no"),
        (["load", *files(), "--company", "Acme", "--rejected", str(tmp_path)], "is a folder"),
        (["unload", "12"], "not the ID"),
    ):
        code, output = run(app, *words)
        assert (code, said in output) == (2, True), output


def test_skip_bad_names_the_file_of_rejected_rows(app: Flask, tmp_path: Path) -> None:
    streams = tmp_path / "s.csv"
    streams.write_text("date;user_id;region;track id;seconds\n21/02/2025;1;NL;A;5\nx;1;NL;A;5")
    rejected = tmp_path / "bad.csv"
    words = ["load", "--streams", str(streams), "--company", "Acme"]
    code, output = run(app, *words)
    assert (code, "s.csv, line 3, column date" in output) == (2, True)
    code, output = run(app, *words, "--skip-bad", "--rejected", str(rejected))
    assert code == 0, output
    assert "1 row rejected" in output
    assert rejected.read_text().startswith("file,line,column,problem,row")
    kept = rejected.read_bytes()
    streams.write_text("date;user_id;region;track id;seconds\n22/02/2025;1;NL;A;5\ny;1;NL;A;5")
    code, output = run(app, *words, "--skip-bad", "--rejected", str(rejected))
    assert (code, f"The rejected rows are in {tmp_path / 'bad-2.csv'}." in output) == (0, True)
    assert rejected.read_bytes() == kept


def test_rejected_rows_that_cannot_be_written_end_the_load(app: Flask, tmp_path: Path) -> None:
    streams = tmp_path / "s.csv"
    streams.write_text("date;user_id;region;track id;seconds\n21/02/2025;1;NL;A;5\nx;1;NL;A;5")
    target = tmp_path / ("x" * 300)
    words = ["load", "--streams", str(streams), "--company", "Acme", "--skip-bad"]
    code, output = run(app, *words, "--rejected", str(target))
    assert (code, "cannot be written" in output) == (2, True), output
