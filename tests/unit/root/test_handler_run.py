"""The handler, with real processes: the process that answers becomes Puppet.

The fake Puppet writes down its arguments, its environment and what it inherits.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Optional

import pytest

from tests.unit.concluding import read
from tests.unit.fake_node import TWITCH_GID, FakeNode, Question, new_run
from twitch.messages import STARTED, Answer, Run
from twitch.records import Options

RUN = new_run(0xA1)
ASKED = Run("anonymous", "192.0.2.7")


def begin(node: FakeNode, asked: Run = ASKED, environment: Optional[dict[str, str]] = None) -> Question:
    """Ask for a run that has to begin."""
    question = Question(node, asked, run=RUN, environment=environment)
    assert question.answer() == Answer(STARTED, run=RUN)
    return question


def test_process_that_answers_becomes_an_agent_run(node: FakeNode) -> None:
    question = begin(node)
    assert question.end() == 0
    [run] = node.puppet.runs()
    assert run["pid"] == question.process.pid
    assert run["argv"] == [
        os.fspath(node.puppet.path),
        "agent",
        "--onetime",
        "--no-daemonize",
        "--no-usecacheonfailure",
        "--no-splay",
        "--no-use_cached_catalog",
        "--waitforcert=0",
        f"--job-id={RUN}",
        "--detailed-exitcodes",
        "--color=false",
        "--no-show_diff",
        "--logdest=syslog",
    ]


def test_options_of_the_caller_and_of_the_site(node: FakeNode) -> None:
    node.puppet.set_settings(logdest="/var/log/puppet.log")
    asked = Run("token:deploy", "::1", noop=True, tags=("a::b", "c"), environment="staging")
    begin(node, asked, {"PUPPET_EXTRA_OPTS": "--noop --certname 'a b'"}).end()
    [run] = node.puppet.runs()
    assert run["argv"][1:5] == ["agent", "--noop", "--certname", "a b"]
    assert run["argv"][-5:] == [
        "--logdest=/var/log/puppet.log,syslog",
        "--noop",
        "--tags=a::b,c",
        "--environment=staging",
        "--strict_environment_mode",
    ]


def test_process_that_answers_becomes_a_masterless_run(node: FakeNode) -> None:
    manifest = node.etc / "site.pp"
    manifest.touch()
    node.configure(f"[puppet]\ncommand = apply\nmanifest = /etc/site.pp\npath = {node.puppet.path}\n")
    begin(node).end()
    [run] = node.puppet.runs()
    assert run["argv"][1:] == [
        "apply",
        "--detailed-exitcodes",
        "--color=false",
        "--no-show_diff",
        "--logdest=syslog",
        f"--lastrunreport={node.puppet.report}.puppet-twitch-{RUN}",
        "/etc/site.pp",
    ]


def environment(run: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a run; the shell that starts the handler here sets PWD."""
    return {name: value for name, value in run["environment"].items() if name != "PWD"}


def test_environment_of_the_site_without_systemds_reaches_puppet(node: FakeNode) -> None:
    of_systemd = {
        "LISTEN_FDS": "1",
        "LISTEN_PID": "1",
        "NOTIFY_SOCKET": "/run/x",
        "RUNTIME_DIRECTORY": "/run/x",
        "JOURNAL_STREAM": "8:1",
        "CREDENTIALS_DIRECTORY": "/run/c",
        "REMOTE_ADDR": "x",
        "SYSTEMD_EXEC_PID": "1",
    }
    begin(node, environment={"HTTPS_PROXY": "http://proxy", "PATH": "/bin:/usr/bin", **of_systemd}).end()
    [run] = node.puppet.runs()
    assert environment(run) == {"HTTPS_PROXY": "http://proxy", "PATH": "/bin:/usr/bin", "LANG": "C.UTF-8"}


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LANG": "C.UTF-8", "LC_CTYPE": "C"}, {"LC_ALL": "POSIX"}])
def test_locale_of_the_site_reaches_puppet(node: FakeNode, locale: dict[str, str]) -> None:
    # Python sets LC_CTYPE in these locales (PEP 538).
    begin(node, environment={"PATH": "/bin:/usr/bin", **locale}).end()
    [run] = node.puppet.runs()
    assert environment(run) == {"PATH": "/bin:/usr/bin", "LANG": "C.UTF-8", **locale}


def test_standard_descriptors_alone_are_inherited_with_empty_input(node: FakeNode) -> None:
    begin(node).end()
    [run] = node.puppet.runs()
    assert set(run["descriptors"]) == {"0", "1", "2"}
    assert run["descriptors"]["0"] == "/dev/null"


def test_signals_are_as_in_puppet_service(node: FakeNode) -> None:
    # A shell, because a fake Puppet in Python would itself ignore SIGPIPE and SIGXFSZ.
    node.puppet.path.write_text(
        f"#!/bin/sh\ncd {node.puppet.directory}\n"
        'if [ "$1" = config ]; then exec cat settings; fi\n'
        # Without `exec`, the shell may be read while it starts cat, with all signals blocked.
        "exec cat /proc/self/status >status\n"
    )
    begin(node).end()
    status = dict(
        line.split(":", 1) for line in node.puppet.directory.joinpath("status").read_text().splitlines()
    )
    assert int(status["SigBlk"], 16) == 0
    # Python ignores SIGXFSZ for itself; in puppet.service the signal has its default action. Other signals
    # may be ignored by the process that runs these tests, such as a shell in the background.
    assert not int(status["SigIgn"], 16) >> (signal.SIGXFSZ - 1) & 1


def test_record_and_claim_of_a_run_that_begins(node: FakeNode) -> None:
    node.puppet.hold_runs()
    question = begin(node, ASKED._replace(tags=("a",)))
    record = read(node.store, RUN)
    assert (record.run, record.state, record.caller) == (RUN, "running", "anonymous")
    assert (record.client, record.options) == ("192.0.2.7", Options(tags=("a",)))
    assert (record.command, record.settings) == ("agent", node.puppet.settings._asdict())
    current = node.store.claims.current()
    assert current is not None
    assert (current.run, current.pid, current.alive) == (RUN, question.process.pid, True)
    node.puppet.release_run()
    question.end()
    assert not current.alive


def test_records_are_readable_by_the_listeners_group(node: FakeNode) -> None:
    begin(node).end()
    info = os.stat(node.store.directory)
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (0, TWITCH_GID, 0o750)
    assert os.stat(node.run / "puppet-twitch/settings.json").st_mode & 0o777 == 0o600


def test_event_names_the_caller_the_options_and_the_answer(node: FakeNode) -> None:
    begin(
        node, Run("token:deploy", "192.0.2.7", noop=True, tags=("a", "b"), environment="x", queue=True)
    ).end()
    [event] = node.events()
    text = "tags=a,b environment=x noop queue"
    assert event["MESSAGE"] == f"token:deploy at 192.0.2.7 asked for a run ({text}): started {RUN}"
    assert event["MESSAGE_ID"] == "1d1c14c6b1f24ed5a0ea5d7d7d43ba6c"
    assert event["SYSLOG_IDENTIFIER"] == "puppet-twitch"
    own = {name: value for name, value in event.items() if name.startswith("TWITCH_")}
    assert own == {
        "TWITCH_RUN": RUN,
        "TWITCH_CALLER": "token:deploy",
        "TWITCH_CLIENT": "192.0.2.7",
        "TWITCH_OPTIONS": text,
        "TWITCH_ANSWER": "started",
    }


def test_run_begins_although_the_listener_has_ended(node: FakeNode) -> None:
    question = Question(node, ASKED, run=RUN)
    question.peer.close()
    assert question.end() == 0
    assert len(node.puppet.runs()) == 1


@pytest.mark.parametrize(
    "shebang", [pytest.param("#!/nowhere/ruby", id="no-interpreter"), pytest.param("", id="no-format")]
)
def test_exec_that_fails_after_the_answer_is_recorded(node: FakeNode, shebang: str) -> None:
    Question(node, ASKED, run=new_run(1)).end()
    node.conclude(new_run(1))
    # The cached settings stay valid by their stamps; only the content of the command is invalid.
    before = node.puppet.path.stat()
    settings = node.run.joinpath("puppet-twitch/settings.json")
    node.puppet.path.write_text(shebang.ljust(before.st_size, "\n"))
    settings.write_text(
        settings.read_text().replace(str(before.st_ctime_ns), str(node.puppet.path.stat().st_ctime_ns))
    )
    node.configure("[access]\ncooldown = 0\n")
    question = begin(node)
    assert question.end() == 1
    node.conclude(RUN, status="1")
    record = read(node.store, RUN)
    assert (record.state, record.verdict) == ("finished", "not attempted")
    assert f"{node.puppet.path} cannot be executed" in str(record.reason)
