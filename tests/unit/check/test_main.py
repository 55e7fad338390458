"""The command `check`: its options, what it prints, its exit status, and the order of its findings."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Optional

import pytest

from twitch.check import (
    agent,
    callers,
    certificates,
    disabling,
    drop_ins,
    files,
    main,
    port,
    runs,
    space,
    systemd,
    token_file,
    units,
)
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import Account
from twitch.config import Config
from twitch.errors import EX_USAGE, UsageError

FINDINGS = [
    Finding(GOOD, "user twitch exists"),
    Finding(NOTE, "puppet-twitch.socket does not start at boot", "systemctl enable puppet-twitch.socket"),
    Finding(FAULT, "puppet-twitch.socket is masked", "systemctl unmask puppet-twitch.socket"),
]
REPORT = """\
ok    user twitch exists
note  puppet-twitch.socket does not start at boot
      fix: systemctl enable puppet-twitch.socket
FAULT puppet-twitch.socket is masked
      fix: systemctl unmask puppet-twitch.socket
1 fault.
"""


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Return the list of what `check` finds in this test."""
    findings = list(FINDINGS)
    monkeypatch.setattr(main, "_findings", lambda: iter(findings))
    return findings


# ---- what is printed


@pytest.mark.usefixtures("findings")
def test_findings_are_printed_with_their_fixes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 1
    assert capsys.readouterr() == (REPORT, "")


def test_without_faults_the_exit_status_is_0(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    findings[:] = FINDINGS[:2]
    assert main.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "No faults found."


def test_several_faults_are_counted(findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    findings[:] = [FINDINGS[2], *FINDINGS]
    assert main.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 faults."


def test_a_text_cannot_forge_a_line(findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    findings[:] = [Finding(NOTE, "Puppet is disabled: x\nok    \x1b[2J", "a\nFAULT b")]
    assert main.main([]) == 0
    lines = ["note  Puppet is disabled: x\\nok    \\x1b[2J", "      fix: a\\nFAULT b", "No faults found."]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.usefixtures("findings")
def test_json_is_one_object_with_all_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--json"]) == 1
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    assert json.loads(out) == {
        "faults": 1,
        "findings": [
            {"level": "good", "text": "user twitch exists", "fix": "", "by_hand": False},
            {"level": "note", "text": FINDINGS[1].text, "fix": FINDINGS[1].fix, "by_hand": False},
            {"level": "fault", "text": FINDINGS[2].text, "fix": FINDINGS[2].fix, "by_hand": False},
        ],
    }


def test_json_without_faults_has_exit_status_0(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    findings[:] = []
    assert main.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": 0, "findings": []}


def test_faults_come_last_and_notes_before_them(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    good, note, fault = FINDINGS
    findings[:] = [fault, note, good, fault._replace(text="another")]
    assert main.main([]) == 1
    marks = [line[:5] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert marks == ["ok   ", "note ", "FAULT", "FAULT", "2 fau"]


@pytest.mark.usefixtures("findings")
def test_quiet_prints_faults_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--quiet"]) == 1
    assert capsys.readouterr().out == "".join(REPORT.splitlines(keepends=True)[3:])
    assert main.main(["--quiet", "--json"]) == 1
    assert [finding["level"] for finding in json.loads(capsys.readouterr().out)["findings"]] == ["fault"]


def test_quiet_says_that_it_does_not_run_as_root(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    findings[:] = [main.NOT_ROOT, *FINDINGS[:2]]
    assert main.main(["--quiet"]) == 0
    assert capsys.readouterr().out.startswith(f"note  {main.NOT_ROOT.text}\n      fix: sudo ")


def test_quiet_prints_nothing_without_a_fault(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    findings[:] = FINDINGS[:2]
    assert main.main(["--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


# ---- options


@pytest.fixture
def nothing_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_findings", lambda: pytest.fail("the node was checked"))


@pytest.mark.usefixtures("nothing_checked")
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_options_and_the_exit_status(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main([option])
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: puppet-twitch check [-h] [--json] [--quiet] [--config FILE]\n")
    assert "Exit status: 0 without faults, 1 with a fault, 64" in out
    assert err == ""


@pytest.mark.usefixtures("nothing_checked")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["--xml"], "unrecognized arguments: --xml", id="unknown"),
        pytest.param(["--js"], "unrecognized arguments: --js", id="abbreviated"),
        pytest.param(["now"], "unrecognized arguments: now", id="word"),
        pytest.param(["--json", "now"], "unrecognized arguments: now", id="word-after-json"),
        pytest.param(["--config"], "argument --config: expected one argument", id="no-file"),
        pytest.param(["--json=yes"], "argument --json: ignored explicit argument 'yes'", id="value"),
    ],
)
def test_a_wrong_option_is_a_usage_error_of_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as error:
        main.main(arguments)
    assert str(error.value) == f"{text}; see puppet-twitch check --help"
    assert error.value.exit_code == EX_USAGE
    assert capsys.readouterr() == ("", "")


# ---- the order of the findings

EVERYWHERE = [
    "user",
    "directory",
    "configuration",
    "tokens",
    "units",
    "drop-ins",
    "port",
    "agent",
    "space",
    "runs",
    "disabling",
]


class Rooms:
    """Each room of `check` reports its name only; configuration and user are the test's."""

    config: Optional[Config] = Config(command="apply", manifest="/site.pp")
    uid = 0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def room(name: str) -> Callable[..., Generator[Finding, None, object]]:
            def check(*arguments: object) -> Generator[Finding, None, object]:
                self.arguments[name] = arguments
                yield Finding(GOOD, name)
                return results.get(name)

            results = {"configuration": self.config, "tokens": (), "agent": "settings", "file": self.config}
            return check

        self.arguments: dict[str, tuple[object, ...]] = {}
        monkeypatch.setattr("os.geteuid", lambda: self.uid)
        monkeypatch.setattr(systemd, "account", lambda: Account("a", "b"))
        monkeypatch.setattr(systemd, "listener", lambda: "puppet-twitch.service")
        monkeypatch.setattr(files, "user", room("user"))
        monkeypatch.setattr(files, "only_root_writes", room("directory"))
        monkeypatch.setattr(files, "configuration", room("configuration"))
        monkeypatch.setattr(files, "other_configuration", room("file"))
        monkeypatch.setattr(files, "permissions_in_place", room("mode"))
        monkeypatch.setattr(token_file, "check", room("tokens"))
        monkeypatch.setattr(token_file, "read", room("tokens"))
        monkeypatch.setattr(units, "check", room("units"))
        monkeypatch.setattr(drop_ins, "check", room("drop-ins"))
        monkeypatch.setattr(port, "check", room("port"))
        monkeypatch.setattr(agent, "check", room("agent"))
        monkeypatch.setattr(agent, "installed", room("puppet"))
        monkeypatch.setattr(space, "check", room("space"))
        monkeypatch.setattr(runs, "check", room("runs"))
        monkeypatch.setattr(disabling, "check", room("disabling"))
        monkeypatch.setattr(certificates, "check", room("certificates"))
        monkeypatch.setattr(units, "filters", room("filters"))
        monkeypatch.setattr(callers, "check", room("callers"))

    def printed(self, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
        """Run `check` and return its findings by name, in their order."""
        assert main.main(["--json", *options]) == 0
        return [finding["text"] for finding in json.loads(capsys.readouterr().out)["findings"]]


def test_root_gets_all_findings_in_their_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rooms = Rooms(monkeypatch)
    assert rooms.printed(capsys) == [*EVERYWHERE, "certificates", "filters", "callers"]
    assert rooms.arguments["user"] == (Account("a", "b"),)
    assert rooms.arguments["agent"] == (Rooms.config,)
    assert rooms.arguments["space"] == rooms.arguments["runs"] == ("settings",)
    assert rooms.arguments["certificates"] == (Rooms.config, "puppet-twitch.service")
    assert rooms.arguments["callers"] == (Rooms.config, ())


def test_a_file_that_is_not_in_place_is_all_that_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rooms = Rooms(monkeypatch)
    about_it = ["file", "mode", "tokens", "puppet", "certificates", "filters", "callers"]
    assert rooms.printed(capsys, "--config", "/root/new.conf") == about_it
    assert rooms.arguments["file"] == ("/root/new.conf",)
    assert rooms.arguments["mode"] == ("/root/new.conf", Account("a", "b"))
    assert rooms.arguments["callers"] == (Rooms.config, ())


def test_without_root_a_note_says_what_is_not_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Rooms, "uid", 65534)
    rooms = Rooms(monkeypatch)
    *names, note = rooms.printed(capsys)  # notes come after what is good
    assert note == "check does not run as root, so tokens, Puppet and certificates are not checked"
    assert names == ["user", "directory", "configuration", "units", "drop-ins", "filters", "callers"]
    assert rooms.arguments["callers"] == (Rooms.config, None)


def test_an_invalid_configuration_leaves_out_grants_and_certificates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Rooms, "config", None)
    rooms = Rooms(monkeypatch)
    assert rooms.printed(capsys) == EVERYWHERE
    assert rooms.arguments["agent"] == (Config(),)
