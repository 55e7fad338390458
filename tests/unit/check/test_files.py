"""The listener's user and group, and who can read and write the files below /etc/puppet-twitch."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Optional

import pytest

from tests.unit.check.levels import of_level, texts
from twitch import config
from twitch.check import files
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import Account
from twitch.config import Config
from twitch.errors import ConfigError

ROOT = Account("root", "root")
# A user that owns no files; the name of its group differs between distributions.
NOBODY = Account("nobody", grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name)


@pytest.fixture
def file(root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file with some content, owned by root, mode 644, that the sandbox does not hide."""
    monkeypatch.setattr(files, "HIDDEN", ())
    for directory in (
        tmp_path,
        tmp_path.parent,
        tmp_path.parent.parent,
    ):  # pytest makes them for its own user only
        directory.chmod(0o755)
    path = tmp_path / "file"
    path.write_text("# a comment\n")
    path.chmod(0o644)
    return path


# ---- user and group


def test_a_missing_group_is_a_fault() -> None:
    findings = list(files.user(Account("daemon", "no-such-group")))
    fix = "groupadd --system no-such-group"
    assert of_level(findings, FAULT) == [Finding(FAULT, "group no-such-group does not exist", fix)]
    assert texts(findings, GOOD) == ["user daemon exists"]


def test_a_missing_user_is_a_fault() -> None:
    (fault,) = files.user(Account("no-such-user", "a-group"))
    assert fault.text == "user no-such-user does not exist"
    assert fault.fix == (
        "groupadd --system --force a-group; "
        "useradd --system --gid a-group --shell /usr/sbin/nologin no-such-user"
    )


def test_the_packaged_user_comes_from_sysusers(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr("pwd.getpwnam", missing)
    assert list(files.user(Account())) == [Finding(FAULT, "user twitch does not exist", "systemd-sysusers")]


def test_a_lost_group_gets_its_number_back(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.struct_passwd(("twitch", "x", 4321, 4321, "", "/", "/usr/sbin/nologin"))
    monkeypatch.setattr("pwd.getpwnam", lambda name: entry)
    (fault,) = of_level(files.user(Account("twitch", "no-such-group")), FAULT)
    assert fault.fix == "groupadd --system --gid 4321 no-such-group"


@pytest.mark.parametrize(("shell", "shown"), [("/bin/bash", "/bin/bash"), ("", "/bin/sh")])
def test_an_account_that_can_log_in_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, shell: str, shown: str
) -> None:
    entry = pwd.struct_passwd(("daemon", "x", 1, 1, "", "/", shell))
    monkeypatch.setattr("pwd.getpwnam", lambda name: entry)
    (fault,) = of_level(files.user(Account("daemon", "daemon")), FAULT)
    assert fault.text == (
        f"user daemon (uid 1) can log in with the shell {shown}, and trigger runs as any caller; if it is a "
        "person's account, give the listener another user (puppet-twitch.service(8))"
    )
    assert fault.fix == "usermod -s /usr/sbin/nologin daemon"


def test_other_members_of_the_group_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = grp.struct_group(("daemon", "x", 1, ["daemon", "alice", "bob"]))
    monkeypatch.setattr("grp.getgrnam", lambda name: entry)
    assert of_level(files.user(Account("daemon", "daemon")), NOTE) == [
        Finding(
            NOTE,
            "group daemon has other members, who can read all runs: alice, bob",
            "gpasswd -d alice daemon; gpasswd -d bob daemon",
        )
    ]


# ---- permissions


def test_a_readable_file_of_root_has_no_findings(file: Path) -> None:
    assert list(files.permissions(os.fspath(file), NOBODY, secret=False)) == []


def test_a_readable_secret_has_no_findings(file: Path) -> None:
    file.chmod(0o640)
    os.chown(file, 0, grp.getgrnam(NOBODY.group).gr_gid)
    assert list(files.permissions(os.fspath(file), NOBODY, secret=True)) == []


@pytest.mark.parametrize(
    ("mode", "secret", "owner", "permitted"),
    [
        pytest.param(0o664, False, "root", 644, id="configuration-group-writes"),
        pytest.param(0o646, False, "root", 644, id="configuration-others-write"),
        pytest.param(0o644, True, "root:root", 640, id="secret-others-read"),
        pytest.param(0o660, True, "root:root", 640, id="secret-group-writes"),
    ],
)
def test_a_file_with_an_open_mode_is_a_fault(
    file: Path, mode: int, secret: bool, owner: str, permitted: int
) -> None:
    file.chmod(mode)
    text = f"{file} has owner root, group root, mode {mode:o}; it must have owner {owner}, mode {permitted}"
    fix = f"chown {owner} {file}; chmod {permitted} {file}"
    findings = list(files.permissions(os.fspath(file), ROOT, secret=secret))
    assert findings == [Finding(FAULT, text, fix)]


def test_a_file_of_another_owner_is_a_fault(file: Path) -> None:
    os.chown(file, pwd.getpwnam("nobody").pw_uid, 0)
    (fault,) = files.permissions(os.fspath(file), ROOT, secret=False)
    assert fault.text.startswith(f"{file} has owner nobody, group root, mode 644; ")


def test_a_secret_of_another_group_is_a_fault(file: Path) -> None:
    file.chmod(0o640)
    (fault,) = files.permissions(os.fspath(file), NOBODY, secret=True)
    assert fault.text.endswith(f"group root, mode 640; it must have owner root:{NOBODY.group}, mode 640")


@pytest.mark.parametrize(
    ("mode", "secret", "fix"),
    [
        pytest.param(0o600, False, "chmod 644 {file}", id="configuration"),
        pytest.param(0o640, False, "chmod 644 {file}", id="configuration-of-another-group"),
        pytest.param(0o600, True, "chmod 640 {file}", id="secret"),
    ],
)
def test_a_file_that_the_listener_cannot_read_is_a_fault(
    file: Path, mode: int, secret: bool, fix: str
) -> None:
    file.chmod(mode)
    if secret:
        os.chown(file, 0, grp.getgrnam(NOBODY.group).gr_gid)
    findings = list(files.permissions(os.fspath(file), NOBODY, secret=secret))
    assert findings == [Finding(FAULT, f"{file} cannot be read by user nobody", fix.format(file=file))]


def test_a_directory_that_the_listener_cannot_enter_is_what_has_to_be_fixed(file: Path) -> None:
    file.parent.chmod(0o700)
    (fault,) = files.permissions(os.fspath(file), NOBODY, secret=False)
    fix = f"chmod o+x {file.parent}; chmod 644 {file}"
    assert fault == Finding(FAULT, f"{file} cannot be read by user nobody", fix)


def test_a_link_to_a_file_that_the_listener_cannot_read_becomes_a_copy(file: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    target = file.rename(closed / "file")
    file.symlink_to(target)
    (fault,) = files.permissions(os.fspath(file), NOBODY, secret=False)
    assert fault.text == f"{file} cannot be read by user nobody"
    subprocess.run(["sh", "-c", fault.fix], check=True)
    assert not file.is_symlink()
    assert list(files.permissions(os.fspath(file), NOBODY, secret=False)) == []


def test_a_file_that_the_sandbox_hides_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "HIDDEN", (f"{file.parent}/",))
    (fault,) = files.permissions(os.fspath(file), NOBODY, secret=False)
    assert fault.text == f"{file} cannot be read by user nobody"


def test_a_missing_secret_is_not_reported(tmp_path: Path) -> None:
    assert list(files.permissions(os.fspath(tmp_path / "none"), ROOT, secret=True)) == []


def test_only_root_may_write_a_directory(file: Path) -> None:
    directory = os.fspath(file.parent)
    assert list(files.only_root_writes(directory, "replace its files")) == []
    file.parent.chmod(0o775)
    text = f"{directory} has owner root, mode 775, so users other than root can replace its files"
    fix = f"chown root {directory}; chmod go-w {directory}"
    assert list(files.only_root_writes(directory, "replace its files")) == [Finding(FAULT, text, fix)]
    assert list(files.only_root_writes(f"{directory}/none", "replace its files")) == []


# ---- the configuration


def run_configuration() -> tuple[list[Finding], object]:
    """Return the findings about the configuration file, and the configuration."""
    generator, findings = files.configuration(ROOT), []
    while True:
        try:
            findings.append(next(generator))
        except StopIteration as end:
            return findings, end.value


def test_an_invalid_configuration_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Config:
        raise ConfigError("/etc/x: [access] anonimous: unknown key")

    monkeypatch.setattr(files, "load_config", load)
    fault = Finding(
        FAULT,
        "/etc/x: [access] anonimous: unknown key",
        "correct the file; until then the port answers 503",
        by_hand=True,
    )
    assert run_configuration() == ([fault], None)


def test_a_valid_configuration_is_returned(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = Config(cooldown_s=1)
    monkeypatch.setattr(files, "load_config", lambda: valid)
    monkeypatch.setattr(files, "CONFIG_FILE", os.fspath(file))
    assert run_configuration() == ([Finding(GOOD, f"the configuration is valid: {file}")], valid)


LOST = {
    "missing": ("rm {path}", "does not exist"),
    "dangling": ("ln -sf none {path}", "is a link to a file that does not exist"),
    "empty": (": >{path}", "is empty"),
    "whitespace": ("echo >{path}", "is empty"),
}


@pytest.mark.parametrize(("lose", "text"), LOST.values(), ids=LOST)
def test_the_fix_for_a_lost_configuration_restores_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, lose: str, text: str
) -> None:
    monkeypatch.setattr(files, "CONFIG_FILE", os.fspath(file))
    monkeypatch.setattr(files, "load_config", lambda: config.load(os.fspath(file)))
    subprocess.run(["sh", "-c", lose.format(path=file)], check=True)
    (fault,), loaded = run_configuration()
    assert (loaded, fault.level, fault.text) == (None, FAULT, f"{file}: {text}; {files.RESTORE}")
    subprocess.run(["sh", "-c", "umask 077; " + fault.fix], check=True)
    # Closed, because the lost file may have closed the node.
    closed = Config(grants={"anonymous": ()})
    assert run_configuration() == ([Finding(GOOD, f"the configuration is valid: {file}")], closed)
    assert stat.S_IMODE(file.lstat().st_mode) == 0o644


def test_a_configuration_of_the_module_is_to_be_changed_in_hiera(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Path(__file__).parents[3] / "puppet-module/twitch/templates/puppet-twitch.conf.epp"
    (header,) = [line for line in template.read_text().splitlines() if line.startswith("# ")]
    monkeypatch.setattr(files, "CONFIG_FILE", os.fspath(file))
    monkeypatch.setattr(files, "load_config", lambda: config.load(os.fspath(file)))
    file.write_text(f"{header}\n")
    findings, _ = run_configuration()
    hiera = "; Puppet writes it, so change twitch::access, tokens, tls or config in Hiera"
    assert findings[-1] == Finding(GOOD, f"the configuration is valid: {file}{hiera}")


# ---- a configuration that is not in place


def run_other(path: Path) -> tuple[list[Finding], object]:
    generator, findings = files.other_configuration(os.fspath(path)), []
    while True:
        try:
            findings.append(next(generator))
        except StopIteration as end:
            return findings, end.value


def test_a_configuration_that_is_not_in_place_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new.conf"
    path.write_text("[access]\ncooldown = 1\n")
    assert run_other(path) == ([Finding(GOOD, f"the configuration is valid: {path}")], Config(cooldown_s=1))


@pytest.mark.parametrize(
    ("text", "error"), [(None, "does not exist"), ("", "is empty"), ("[x]\n", "[x]: unknown")]
)
def test_an_invalid_configuration_that_is_not_in_place(
    tmp_path: Path, text: Optional[str], error: str
) -> None:
    path = tmp_path / "new.conf"
    if text is not None:
        path.write_text(text)
    (fault,), config = run_other(path)
    assert (config, fault.level, fault.fix, fault.by_hand) == (None, FAULT, "correct the file", True)
    assert fault.text.startswith(f"{path}: {error}")
    assert "503" not in fault.text
    assert "restore" not in fault.text


@pytest.mark.parametrize(
    ("mode", "owner", "group", "fault"),
    [
        pytest.param(0o644, 0, "root", None, id="readable"),
        pytest.param(0o640, 0, NOBODY.group, None, id="readable-by-the-group"),
        pytest.param(0o600, 0, "root", ", or user nobody cannot read it", id="umask-077"),
        pytest.param(0o640, 0, "root", ", or user nobody cannot read it", id="another-group"),
        # access(2): of the three classes, only the first that matches applies.
        pytest.param(0o604, 0, NOBODY.group, ", or user nobody cannot read it", id="all-but-the-group"),
        pytest.param(0o664, 0, "root", "", id="group-writes"),
        pytest.param(0o644, 65533, "root", "", id="another-owner"),
    ],
)
def test_the_mode_that_mv_keeps_is_reported(
    file: Path, mode: int, owner: int, group: str, fault: Optional[str]
) -> None:
    os.chown(file, owner, grp.getgrnam(group).gr_gid)
    file.chmod(mode)
    text = (
        f"{file} has owner {files.owner_name(owner)}, group {group}, mode {mode:o}, which mv keeps; "
        f"in its place it must have owner root, mode 644{fault}"
    )
    found = list(files.permissions_in_place(os.fspath(file), NOBODY))
    fix = f"chown root {file}; chmod 644 {file}"
    assert found == ([] if fault is None else [Finding(FAULT, text, fix)])


def test_a_pipe_is_not_put_in_place(file: Path) -> None:
    pipe = file.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    assert list(files.permissions_in_place(os.fspath(pipe), NOBODY)) == []
