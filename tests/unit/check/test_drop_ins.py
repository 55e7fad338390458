"""Drop-ins for all services, as LXC brings one, and settings of puppet.service that runs lack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.check import drop_ins, systemd
from twitch.check.findings import NOTE, Finding

LISTENER, RUN, PUPPET = "puppet-twitch.service", "puppet-twitch-run@.service", "puppet.service"


class FakeFiles:
    """The files of units in a test, below a directory in place of /."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.root = root
        self.fragments: dict[str, str] = {}
        self.drop_ins: dict[str, list[str]] = {}
        monkeypatch.setattr(systemd, "show", self.show)
        monkeypatch.setattr(drop_ins, "SITE_PATHS", (f"{root}/etc/", f"{root}/run/"))

    def show(self, unit: str, name: str) -> str:
        if name == "LoadState":
            return "loaded" if unit in self.fragments else "not-found"
        if name == "FragmentPath":
            return self.fragments.get(unit, "")
        return " ".join(self.drop_ins.get(unit, [])) if name == "DropInPaths" else ""

    def write(self, path: str, *lines: str, section: str = "[Service]") -> str:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join([section, *lines, ""]))
        return os.fspath(file)

    def unit(self, unit: str, *lines: str) -> None:
        self.fragments[unit] = self.write(f"usr/{unit}", *lines)

    def drop_in(self, unit: str, path: str, *lines: str) -> str:
        written = self.write(path, *lines)
        self.drop_ins.setdefault(unit, []).append(written)
        return written


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeFiles:
    files = FakeFiles(monkeypatch, tmp_path)
    files.unit(
        LISTENER,
        "PrivateNetwork=yes",
        "NoNewPrivileges=yes",
        "InaccessiblePaths=-/a",
        "InaccessiblePaths=-/b",
    )
    return files


def test_a_drop_in_for_all_services_that_replaces_ours_is_noted(fake: FakeFiles) -> None:
    fake.drop_in(LISTENER, "etc/puppet-twitch.service.d/tls.conf", "LoadCredential=cert:/c")
    lxc = ("PrivateNetwork=no", "# a comment", "NoNewPrivileges=no", "ProtectSystem=no", "LoadCredential=")
    path = fake.drop_in(LISTENER, "run/service.d/zzz-lxc-service.conf", *lxc)
    text = f"{path} replaces settings of {LISTENER}: PrivateNetwork=no NoNewPrivileges=no LoadCredential="
    override = "/etc/systemd/system/puppet-twitch.service.d/zzzz.conf"
    fix = (
        f"remove them there, or write in [Service] of {override}: PrivateNetwork=yes NoNewPrivileges=yes"
        f" LoadCredential=cert:/c; then systemctl daemon-reload; systemctl stop {LISTENER}"
    )
    assert list(drop_ins.check()) == [Finding(NOTE, text, fix, by_hand=True)]


def test_a_drop_in_for_a_prefix_of_our_names_is_noted(fake: FakeFiles) -> None:
    fake.drop_in(LISTENER, "etc/puppet-.service.d/site.conf", "PrivateNetwork=no")
    assert len(list(drop_ins.check())) == 1


def test_a_later_drop_in_of_the_unit_itself_has_the_last_word(fake: FakeFiles) -> None:
    fake.drop_in(LISTENER, "run/service.d/zzz-lxc-service.conf", "PrivateNetwork=no")
    fake.drop_in(LISTENER, "etc/puppet-twitch.service.d/zzzz.conf", "PrivateNetwork=yes")
    assert list(drop_ins.check()) == []


def test_settings_that_the_units_do_not_have_are_not_reported(fake: FakeFiles) -> None:
    fake.drop_in(LISTENER, "usr/service.d/10-timeout-abort.conf", "TimeoutStopFailureMode=abort")
    fake.drop_in(LISTENER, "etc/puppet-twitch.service.d/override.conf", "PrivateNetwork=no")
    assert list(drop_ins.check()) == []


def test_settings_of_the_daemon_that_runs_lack_are_noted(fake: FakeFiles) -> None:
    fake.unit(RUN, "EnvironmentFile=-/etc/default/puppet")
    fake.unit(PUPPET, "KillMode=process", "Nice=5")
    lines = ("EnvironmentFile=-/etc/default/puppet", "Environment=http_proxy=http://p:3128", "ExecStart=")
    path = fake.drop_in(PUPPET, "etc/puppet.service.d/site.conf", *lines, "LimitNOFILE=65536", "UMask=0027")
    fake.drop_in(RUN, "etc/puppet-twitch-run@.service.d/site.conf", "UMask=0027")
    text = f"{path} gives {PUPPET} settings that {RUN} lacks: Environment=http_proxy=… LimitNOFILE=65536"
    fix = f"systemctl edit {RUN}: add them in [Service]; with the Puppet module: twitch::run_settings"
    assert list(drop_ins.check()) == [Finding(NOTE, text, fix, by_hand=True)]


def test_without_the_daemon_or_its_files_there_is_nothing_to_report(fake: FakeFiles) -> None:
    assert list(drop_ins.check()) == []
    fake.unit(PUPPET)
    fake.drop_ins[PUPPET] = [f"{fake.root}/etc/no-such-file"]
    assert list(drop_ins.check()) == []
