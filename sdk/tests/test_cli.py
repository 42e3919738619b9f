"""What the command line says when it can do nothing; tests/e2e of the repository has it at work."""

import sqlite3
from pathlib import Path

import pytest

from catbird.catchup import SyncReport
from catbird.cli import _tell, main


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recover", str(tmp_path / "none.db"), "--secret-file", str(tmp_path / "secret")]) == 1
    assert capsys.readouterr().err == f"catbird: there is no {tmp_path / 'none.db'}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_device_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.db"
    sqlite3.connect(path).close()
    path.touch()
    assert main(["recover", str(path), "--secret-file", str(tmp_path / "secret")]) == 1
    assert capsys.readouterr().err == f"catbird: {path} holds no device\n"


def test_whatever_is_not_in_order_is_told_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    report = SyncReport(rejoined=["1"], waiting=["2"], gone=["3"], failed={"4": "nobody else is in"})
    assert _tell(report, dict.fromkeys("1234", "Lunch")) == 1
    assert capsys.readouterr().out.splitlines() == [
        "rejoined 1 Lunch",
        "waiting 2 Lunch",
        "gone 3 Lunch",
        "failed 4 Lunch: nobody else is in",
    ]
