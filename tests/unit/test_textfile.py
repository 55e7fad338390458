"""A file that node_exporter reads: whole, readable, and never under a wrong name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from twitch import textfile
from twitch.errors import TwitchError


def test_file_is_replaced_as_a_whole_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "puppet-twitch.prom"
    path.write_text("old")
    old = path.open()
    before = os.umask(0o077)
    try:
        textfile.write(os.fspath(path), "new\n")
    finally:
        os.umask(before)
    with old:
        assert (path.read_text(), old.read()) == ("new\n", "old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["puppet-twitch.prom"]


def test_temporary_file_is_not_read_by_node_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    rename = os.rename

    def renamed(source: str, target: str, **where: int) -> None:
        names.extend(os.listdir(tmp_path))
        rename(source, target, **where)

    monkeypatch.setattr(os, "rename", renamed)
    textfile.write(os.fspath(tmp_path / "puppet-twitch.prom"), "new\n")
    assert len(names) == 1 and not names[0].endswith(".prom")


def test_links_in_the_directory_are_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "puppet-twitch.prom", tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    tmp_path.joinpath(f"puppet-twitch.prom.{os.getpid()}").symlink_to(victim)
    textfile.write(os.fspath(path), "new\n")
    assert (path.read_text(), path.is_symlink(), victim.read_text()) == ("new\n", False, "precious")


def test_error_names_the_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "x.prom"
    with pytest.raises(TwitchError, match=r"x\.prom cannot be written: No such file or directory"):
        textfile.write(os.fspath(missing), "")
    directory = tmp_path / "x.prom"
    directory.mkdir()
    with pytest.raises(TwitchError, match="Is a directory"):
        textfile.write(os.fspath(directory), "")
    assert os.listdir(tmp_path) == ["x.prom"]
