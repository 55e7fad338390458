"""The journal: a journald that stores nothing has no logs of runs."""

from __future__ import annotations

import grp
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pytest

from twitch.check import journal, systemd
from twitch.check.findings import FAULT

CONFIGURATIONS: dict[str, tuple[Optional[str], int]] = {
    "as installed": ("# /etc/systemd/journald.conf\n[Journal]\n#Storage=none\n", 0),
    "none": ("[Journal]\nStorage=none\n", 1),
    "none, and a drop-in after it": ("[Journal]\nStorage=none\n[Journal]\nStorage=volatile\n", 0),
    "volatile, and a drop-in after it": ("[Journal]\nStorage=volatile\n[Journal]\nStorage=none\n", 1),
    "unknown": (None, 0),
}


@pytest.mark.parametrize(("text", "number"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_storage_none_is_a_fault(monkeypatch: pytest.MonkeyPatch, text: Optional[str], number: int) -> None:
    def output(command: Sequence[str]) -> Optional[str]:
        return text if command == ["systemd-analyze", "cat-config", "systemd/journald.conf"] else None

    monkeypatch.setattr(systemd, "output", output)
    monkeypatch.setattr(journal, "TOPS", ())
    found = list(journal.check())
    assert [finding.level for finding in found] == [FAULT] * number


def test_journal_of_root_alone_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    top = tmp_path / "journal"
    (top / "id").mkdir(parents=True)
    file = top / "id/system.journal"
    file.touch()
    monkeypatch.setattr(systemd, "output", lambda command: "id\n" if "--print" in command else None)
    monkeypatch.setattr(journal, "TOPS", (str(top),))
    monkeypatch.setattr(journal, "GROUP", grp.getgrgid(file.stat().st_gid).gr_name)
    file.chmod(0o640)
    assert list(journal.check()) == []
    file.chmod(0o600)
    (fault,) = journal.check()
    assert fault.fix == f"systemd-tmpfiles --create --prefix={top}"
    file.chmod(0o640)
    monkeypatch.setattr(journal, "GROUP", "daemon")
    assert len(list(journal.check())) == 1
