"""Whether the listener may read a file in its unit's view, and the fix where it may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.check import files, reading, systemd

UNIT = "puppet-twitch.service"


@pytest.mark.usefixtures("root")
def test_whether_the_listener_may_read_a_file_is_asked_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HIDDEN", ())
    monkeypatch.setattr(systemd, "account", lambda: systemd.Account("nobody", "nogroup"))
    closed = tmp_path / "closed"  # as /var/lib/puppet, 750
    (closed / "ssl").mkdir(parents=True)
    closed.chmod(0o750)
    for path in (tmp_path, *list(tmp_path.parents)[:2]):
        path.chmod(0o755)
    crl = closed / "ssl" / "crl.pem"
    crl.write_text("x")
    settings: dict[str, str] = {}
    monkeypatch.setattr(systemd, "show", lambda unit, name: settings.get(name, ""))
    assert not reading.readable(os.fspath(crl), UNIT)
    settings["TemporaryFileSystem"] = f"{closed}:ro"
    assert not reading.readable(os.fspath(crl), UNIT)
    settings["BindReadOnlyPaths"] = f"/elsewhere {closed}/ssl:{closed}/ssl:rbind"
    assert reading.readable(os.fspath(crl), UNIT)
    crl.chmod(0o600)
    assert not reading.readable(os.fspath(crl), UNIT)
    assert reading.fix(os.fspath(crl), UNIT, "set up") == (f"chmod o+r {crl}", False)
    (closed / "ssl").chmod(0o700)
    crl.chmod(0o644)
    assert reading.fix(os.fspath(crl), UNIT, "set up") == (f"chmod o+x {closed}/ssl", False)
    settings.clear()
    both = f"chmod o+x {closed}; chmod o+x {closed}/ssl"
    assert reading.fix(os.fspath(crl), UNIT, "set up") == (both, False)


def test_a_file_that_is_not_there_or_hidden_needs_another_setup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "show", lambda unit, name: "")
    assert reading.fix(f"{tmp_path}/none", UNIT, "set up") == ("set up", True)
    (tmp_path / "file").touch(mode=0o600)
    assert reading.fix(f"{tmp_path}/file", UNIT, "set up") == ("set up", True)  # /tmp is hidden
