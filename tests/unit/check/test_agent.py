"""Puppet as root's part of a run would find it: the command, its settings, its locks, the manifest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.check.levels import of_level
from tests.unit.fake_puppet import FakePuppet
from twitch import record_files
from twitch.check import agent, systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import Config
from twitch.errors import PuppetError
from twitch.root import puppet_locks
from twitch.root.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings whose locks lie in a directory of the test; Puppet is not asked."""
    settings = Settings(
        agent_catalog_run_lockfile=os.fspath(tmp_path / "run.lock"),
        agent_disabled_lockfile=os.fspath(tmp_path / "disabled.lock"),
        config="",
        lastrunfile="",
        lastrunreport="",
        logdest="",
        runtimeout="1h",
    )
    monkeypatch.setattr(agent, "load_settings", lambda command, cache, environment: settings)
    return settings


@pytest.fixture(autouse=True)
def end_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "end_command", lambda pid: f"end {pid}")


def check(puppet: FakePuppet, **options: str) -> list[Finding]:
    return list(agent.check(Config(puppet_path=os.fspath(puppet.path), **options)))  # type: ignore[arg-type]


def test_an_idle_puppet_has_no_faults(puppet: FakePuppet, settings: Settings) -> None:
    text = f"Puppet is {puppet.path}; its lock is {settings.agent_catalog_run_lockfile}"
    assert check(puppet) == [Finding(GOOD, text)]


def test_an_agent_without_a_certificate_is_noted(
    puppet: FakePuppet, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"hostcert": f"{tmp_path}/node.pem", "localcacert": f"{tmp_path}/ca.pem"}
    settings = settings._replace(**paths, certname="node.example.com")
    monkeypatch.setattr(agent, "load_settings", lambda command, cache, environment: settings)
    (note,) = of_level(check(puppet), NOTE)
    assert note.text == f"this node has no certificate ({tmp_path}/node.pem), so no agent run can begin"
    assert note.fix.startswith("see why the agent does not reach its puppetserver: puppet agent -t;")
    (tmp_path / "ca.pem").touch()
    (note,) = of_level(check(puppet), NOTE)
    assert note.fix == "sign it on the puppetserver: puppetserver ca sign --certname node.example.com"
    (tmp_path / "node.pem").touch()
    assert of_level(check(puppet), NOTE) == []


def test_a_directory_that_others_can_change_is_a_fault(
    puppet: FakePuppet, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "ROOT", os.fspath(tmp_path / "run"))
    tmp_path.joinpath("run").mkdir()
    tmp_path.joinpath("run").chmod(0o777)
    text = f"{tmp_path}/run has mode 777, so users other than root can change it, so no run can start"
    fix = f"rm -rf {tmp_path}/run; systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket"
    assert check(puppet) == [Finding(FAULT, text, fix)]


def test_a_history_that_is_a_link_is_a_fault(
    puppet: FakePuppet, settings: Settings, history: Path, tmp_path: Path
) -> None:
    history.symlink_to(tmp_path)
    text = f"{history} is a symbolic link, so no history of runs is kept"
    assert of_level(check(puppet), FAULT) == [Finding(FAULT, text, f"rm -rf {history}")]


def test_a_missing_puppet_is_a_fault() -> None:
    (fault,) = agent.check(Config(puppet_path="/opt/none/puppet"))
    assert fault.level == FAULT
    assert "no puppet at /opt/none/puppet" in fault.text
    assert fault.fix == "install Puppet, or correct [puppet] path in puppet-twitch.conf"


def test_a_puppet_that_does_not_tell_its_settings_is_a_fault(
    puppet: FakePuppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(command: str, cache: str, environment: dict[str, str]) -> Settings:
        raise PuppetError("config print failed")

    monkeypatch.setattr(agent, "load_settings", load)
    fix = f"run {puppet.path} config print --section agent as root, and fix the error that it reports"
    assert check(puppet) == [Finding(FAULT, "config print failed", fix, by_hand=True)]


def test_a_disabled_puppet_is_noted_with_its_reason(puppet: FakePuppet, settings: Settings) -> None:
    lock = Path(settings.agent_disabled_lockfile)
    for content, reason in (('{"disabled_message": "on holiday"}', "on holiday"), ("", "no reason given")):
        lock.write_text(content)
        note = Finding(NOTE, f"Puppet is disabled: {reason}", "puppet agent --enable")
        assert of_level(check(puppet), NOTE) == [note]


def test_a_lock_that_cannot_be_read_is_a_fault(puppet: FakePuppet, settings: Settings) -> None:
    run_lock, disabled_lock = settings.agent_catalog_run_lockfile, settings.agent_disabled_lockfile
    os.mkdir(run_lock)
    os.mkdir(disabled_lock)
    assert of_level(check(puppet), FAULT) == [
        Finding(
            FAULT,
            f"{run_lock} cannot be read (not a regular file), so puppet-twitch cannot see whether Puppet"
            " is running",
            f"mv --no-target-directory --backup=numbered {run_lock} {run_lock}.unreadable",
        ),
        Finding(
            FAULT,
            f"{disabled_lock} cannot be read (not a regular file), so puppet-twitch treats Puppet as disabled"
            " and answers triggers with 423",
            f"mv --no-target-directory --backup=numbered {disabled_lock} {disabled_lock}.unreadable",
        ),
    ]


@pytest.mark.parametrize("age_s", [3900, 3901])
def test_a_run_far_beyond_its_runtimeout_is_a_fault(
    puppet: FakePuppet, settings: Settings, monkeypatch: pytest.MonkeyPatch, age_s: int
) -> None:
    monkeypatch.setattr(puppet_locks, "run_lock_holder", lambda lock: puppet_locks.Holder(4711, age_s))
    text = (
        f"Puppet process 4711 has held {settings.agent_catalog_run_lockfile} for 3901 s, "
        "longer than its runtimeout of 3600 s allows"
    )
    stuck = [Finding(FAULT, text, "end 4711")]
    assert of_level(check(puppet), FAULT) == (stuck if age_s == 3901 else [])


@pytest.mark.usefixtures("settings")
def test_a_missing_manifest_is_a_fault(puppet: FakePuppet) -> None:
    fault = Finding(
        FAULT,
        "the manifest /root/none.pp does not exist",
        "create /root/none.pp, or correct [puppet] manifest in puppet-twitch.conf",
        by_hand=True,
    )
    assert of_level(check(puppet, command="apply", manifest="/root/none.pp"), FAULT) == [fault]
    assert of_level(check(puppet), FAULT) == []


@pytest.mark.usefixtures("settings", "root")
def test_a_manifest_that_others_can_change_is_a_fault(puppet: FakePuppet, tmp_path: Path) -> None:
    manifest = tmp_path / "site.pp"
    manifest.touch()
    manifest.chmod(0o666)
    fault = Finding(
        FAULT,
        f"{manifest} has owner root, mode 666, so users other than root can change what root applies",
        f"chown root {manifest}; chmod go-w {manifest}",
    )
    assert of_level(check(puppet, command="apply", manifest=os.fspath(manifest)), FAULT) == [fault]
