"""A setting that cannot be used ends the process at its start: by name, a sentence, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from webapp.config import BadSetting, load_settings
from webapp.data_dir import complete_settings, kept_secret_key
from webapp.ops.launcher import folder_lock

ROOT = Path(__file__).parent.parent
FLASK = str(Path(sys.executable).with_name("flask"))
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DATABASE_URL", "garbage", "postgresql://user:password@host/name"),
        ("DATABASE_URL", "nosuch://user:hush@host/name", "postgresql://"),
        ("DATABASE_URL", "postgresql://user:hush@host:port/name", "postgresql://"),
        ("DATABASE_URL", "oracle://user:hush@host/name", "a driver that is not installed"),
        ("REDIS_URL", "localhost:6379", "redis://127.0.0.1:6379/0"),
        ("REDIS_URL", "redis://:hush@host:port", "redis://127.0.0.1:6379/0"),
        ("SECRET_KEY_FILE", "/nope", "/nope cannot be read"),
        ("SIGN_IN_TRIES", "foo", "10 per minute"),
        ("PORT", "http", "not a whole number"),
        ("PORT", "65536", "at most 65535"),
        ("WEB_THREADS", "3", "at least 4"),
        ("MONTHS_KEPT_DAYS", "nan", "at most 36500"),
        ("MONTHS_KEPT_DAYS", "a month", "not a number"),
        ("STREAMING", "maybe", "neither true nor false"),
        ("LOG_FORMAT", "xml", "not one of 'json' or 'text'"),
        ("SESSION_TIMEZONE", "Mars/Base", "Europe/Berlin"),
        ("PARTNER_API_URL", "http://partner.example/{namespace}", "loopback hosts only"),
        ("ALLOWED_HOSTS", "https://reports.example.com", "without https://, port or path"),
        ("ALLOWED_HOSTS", "a.example, reports.example.com:8443", "without https://, port or path"),
        ("ALLOWED_HOSTS", "reports.example.com/home", "without https://, port or path"),
        ("PUBLIC_URL", "reports.example.com", "https://reports.example.com"),
        ("PUBLIC_URL", "https://reports.example.com?x=1", "https://reports.example.com"),
        ("MAIL_FROM", "reports", "reports@example.com"),
        ("DELIVERY_FOLDERS", "s3://bucket/a /srv/reports", "file:///srv/reports"),
    ],
)
def test_a_bad_setting_is_said_by_name(
    name: str,
    value: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting) as caught:
        load_settings()
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"{name}: ")
    assert words in printed
    assert "hush" not in printed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://user:password@host/name"),
        ("DATABASE_URL", "sqlite:////tmp/app.sqlite3"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("REDIS_URL", "rediss://user:password@host:6380/2"),
        ("SIGN_IN_TRIES", "3/second"),
        ("ALLOWED_HOSTS", "reports.example.com, .internal.example,127.0.0.1, ::1"),
        ("PUBLIC_URL", "https://reports.example.com:8443/reports/"),
        ("MAIL_FROM", "Reports of Acme <reports@acme.example>"),
        ("DELIVERY_FOLDERS", "s3://reports/ file:///srv/other"),
    ],
)
def test_a_good_setting_is_taken_as_it_is(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert load_settings()[name] == value


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [("STREAMING", " OFF ", False), ("LOG_LEVEL", "Warning", "warning"), ("PORT", "", 5000)],
)
def test_a_setting_is_read_as_people_write_it(
    name: str, value: str, read: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert load_settings()[name] == read


def test_a_setting_may_stand_in_a_file_and_the_environment_goes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threads").write_text("64\n")
    monkeypatch.setenv("WEB_THREADS_FILE", str(tmp_path / "threads"))
    assert load_settings()["WEB_THREADS"] == 64
    monkeypatch.setenv("WEB_THREADS", "32")
    assert load_settings()["WEB_THREADS"] == 32


def test_a_number_in_a_file_has_the_same_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threads").write_text("3")
    monkeypatch.setenv("WEB_THREADS_FILE", str(tmp_path / "threads"))
    with pytest.raises(BadSetting, match=r"^WEB_THREADS: "):
        load_settings()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=r"^DATA_DIR: "):
        complete_settings(load_settings() | {"DATA_DIR": str(tmp_path / "file" / "var")})


def test_the_secret_key_is_the_same_for_all_who_start_at_once(tmp_path: Path) -> None:
    for round in range(50):
        folder = tmp_path / str(round)
        folder.mkdir()
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(kept_secret_key, [folder] * 8))
        assert len(keys) == 1
        assert len(keys.pop()) == 64
        assert [path.name for path in folder.iterdir()] == ["secret_key"]
        assert (folder / "secret_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "command",
    [
        [FLASK, "months", "expire"],
        [sys.executable, "worker.py"],
        [GUNICORN, "--config", "file:webapp/ops/gunicorn_conf.py"],
    ],
    ids=["flask", "worker", "gunicorn"],
)
def test_every_program_ends_with_the_sentence_and_code_2(
    command: list[str], tmp_path: Path
) -> None:
    environ = os.environ | {"DATA_DIR": str(tmp_path), "SECRET_KEY": "short"}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("SECRET_KEY: is shorter")
    assert len(done.stderr.splitlines()) == 1


def test_commands_find_the_stand_in_that_runs_on_the_same_folder(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9700/{namespace}.{data_center}"
    (tmp_path / "partner_api_url").write_text(url)
    given = {"DATA_DIR": str(tmp_path), "SECRET_KEY": "0123456789abcdef"}

    def found(**more: str) -> str:
        return str(complete_settings(load_settings() | given | more)["PARTNER_API_URL"])

    assert found() == ""  # left behind by one that was killed
    with folder_lock(tmp_path):
        assert found() == url
        assert found(PARTNER_API_URL="https://real.example") == "https://real.example"
    assert found() == ""


@pytest.mark.parametrize(
    ("database", "given", "processes"),
    [
        ("", 0, 1),
        ("sqlite:////tmp/app.sqlite3", 0, 1),
        ("postgres://host/name", 0, min(os.cpu_count() or 1, 4)),
        ("postgres://host/name", 3, 3),
    ],
)
def test_there_is_a_web_process_for_each_core_unless_writers_would_queue_up(
    tmp_path: Path, database: str, given: int, processes: int
) -> None:
    values = load_settings() | {"DATA_DIR": str(tmp_path), "DATABASE_URL": database}
    assert complete_settings(values | {"WEB_PROCESSES": given})["WEB_PROCESSES"] == processes
