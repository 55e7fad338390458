"""The person at the command line: known through sudo and su, and root by now."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import Optional

import pytest

from twitch import __main__, messages
from twitch.cli import person
from twitch.config import GRANTS


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_USER", raising=False)


def log_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str, sudo: Optional[str]) -> str:
    """Return the name of the person, with this content of loginuid and this SUDO_USER."""
    tmp_path.joinpath("loginuid").write_text(login)
    monkeypatch.setattr(person, "LOGINUID", os.fspath(tmp_path / "loginuid"))
    monkeypatch.setattr(pwd, "getpwuid", {1000: user("alice"), 0: user("root")}.__getitem__)
    if sudo is not None:
        monkeypatch.setenv("SUDO_USER", sudo)
    return person.person("status").name


def user(name: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", 0, 0, "", "/", "/bin/sh"))


LOGINS = {
    "sudo": ("1000", "alice", "user:alice"),
    "sudo-after-su": ("1000", "bob", "user:alice"),  # bob's password does not make alice bob
    "root-at-the-console": ("0", None, "user:root"),
    "container": ("4294967295", None, "user:root"),
    "sudo-in-a-container": ("4294967295", "bob", "user:bob"),
    "user-of-the-host": ("1234", "bob", "user:bob"),  # a container that was started from a login
    "no-audit": ("", "bob", "user:bob"),
    "name-with-a-space": ("4294967295", "Bob Müller", "user:Bob_M_ller"),
    "long-name": ("4294967295", "b" * 300, "user:" + "b" * 100),
    "empty-sudo-user": ("4294967295", "", "user:root"),
}


@pytest.mark.parametrize(("login", "sudo", "name"), LOGINS.values(), ids=LOGINS)
def test_name_of_a_person(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str, sudo: Optional[str], name: str
) -> None:
    assert log_in(monkeypatch, tmp_path, login, sudo) == name
    assert re.fullmatch(messages.CALLER, name)


def test_person_has_all_grants_and_is_at_the_node() -> None:
    caller = person.person("status")
    assert (caller.grants, caller.named, caller.address) == (frozenset(GRANTS), True, "local")
    assert re.fullmatch(messages.CLIENT, caller.address)


@pytest.mark.parametrize("command", __main__.CLI)
def test_command_needs_root(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert __main__.main([command, *(["CHG-123"] if command == "disable" else [])]) == 77
    text = f"puppet-twitch: {command} needs root: sudo puppet-twitch {command}\n"
    assert capsys.readouterr() == ("", text)


def test_login_of_another_user_is_not_disturbed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert __main__.main(["status", "--brief"]) == 77
    assert capsys.readouterr() == ("", "")
