"""A setting that cannot be used ends the process at its start: by name, a sentence, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from webapp.config import BadSetting, complete_settings, kept_secret_key, load_settings

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
    ],
)
def test_a_bad_setting_is_said_by_name(
    name: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadSetting) as caught:
        load_settings({name: value})
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
    ],
)
def test_a_good_setting_is_taken_as_it_is(name: str, value: str) -> None:
    assert load_settings({name: value})[name] == value


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=r"^DATA_DIR: "):
        complete_settings(load_settings({"DATA_DIR": str(tmp_path / "file" / "var")}))


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
