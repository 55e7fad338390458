"""The handler, for real: the process that answers is the process that becomes Puppet.

Seen from Puppet: its arguments, its environment, and what it inherits.
"""

from __future__ import annotations

import os
import signal
from typing import Optional

import pytest

from tests.unit.house import TWITCH_GID, House, Question, new_run
from twitch.messages import Answer, Run

RUN = new_run(0xA1)
ASKED = Run("anonymous", "192.0.2.7")


def begun(node: House, asked: Run = ASKED, environment: Optional[dict[str, str]] = None) -> Question:
    question = Question(node, asked, run=RUN, environment=environment)
    assert question.answer() == Answer("started", run=RUN)
    return question


def test_the_process_that_answers_becomes_puppet(node: House) -> None:
    question = begun(node)
    assert question.end() == 0
    [run] = node.puppet.runs()
    assert run["pid"] == question.process.pid
    log = f"/run/puppet-twitch/runs/{RUN}.jsonl"
    assert run["argv"] == [
        os.fspath(node.puppet.path),
        "agent",
        "--onetime",
        "--no-daemonize",
        "--no-usecacheonfailure",
        "--no-splay",
        f"--job-id={RUN}",
        "--detailed-exitcodes",
        "--color=false",
        "--no-show_diff",
        f"--logdest=syslog,{log}",
    ]


def test_options_and_a_sites_own_options(node: House) -> None:
    node.puppet.tell(logdest="/var/log/puppet.log")
    asked = Run("token:deploy", "::1", noop=True, tags=("a::b", "c"), environment="staging")
    begun(node, asked, {"PUPPET_EXTRA_OPTS": "--noop --certname 'a b'"}).end()
    [run] = node.puppet.runs()
    assert run["argv"][1:5] == ["agent", "--noop", "--certname", "a b"]
    assert run["argv"][-5:] == [
        f"--logdest=/var/log/puppet.log,/run/puppet-twitch/runs/{RUN}.jsonl",
        "--noop",
        "--tags=a::b,c",
        "--environment=staging",
        "--strict_environment_mode",
    ]


def test_a_masterless_run(node: House) -> None:
    manifest = node.etc / "site.pp"
    manifest.touch()
    node.configure(f"[puppet]\ncommand = apply\nmanifest = /etc/site.pp\npath = {node.puppet.path}\n")
    begun(node).end()
    [run] = node.puppet.runs()
    assert run["argv"][1:] == [
        "apply",
        "--detailed-exitcodes",
        "--color=false",
        "--no-show_diff",
        f"--logdest=syslog,/run/puppet-twitch/runs/{RUN}.jsonl",
        f"--lastrunreport=/run/puppet-twitch/runs/{RUN}.yaml",
        "/etc/site.pp",
    ]


def test_the_environment_is_the_sites_and_not_systemds(node: House) -> None:
    systemds = {
        "LISTEN_FDS": "1",
        "LISTEN_PID": "1",
        "NOTIFY_SOCKET": "/run/x",
        "RUNTIME_DIRECTORY": "/run/x",
        "JOURNAL_STREAM": "8:1",
        "CREDENTIALS_DIRECTORY": "/run/c",
        "REMOTE_ADDR": "x",
        "SYSTEMD_EXEC_PID": "1",
    }
    begun(node, environment={"HTTPS_PROXY": "http://proxy", "PATH": "/bin:/usr/bin", **systemds}).end()
    [run] = node.puppet.runs()
    environment = {
        name: value for name, value in run["environment"].items() if name not in ("PWD", "LC_CTYPE")
    }
    assert environment == {"HTTPS_PROXY": "http://proxy", "PATH": "/bin:/usr/bin", "LANG": "C.UTF-8"}


def test_nothing_is_inherited_but_the_three_and_the_first_is_empty(node: House) -> None:
    begun(node).end()
    [run] = node.puppet.runs()
    assert set(run["descriptors"]) == {"0", "1", "2"}
    assert run["descriptors"]["0"] == "/dev/null"


def test_signals_are_as_in_a_service_of_puppets_own(node: House) -> None:
    # A shell, because Python as the fake Puppet would ignore the two that it always ignores.
    node.puppet.path.write_text(
        f"#!/bin/sh\ncd {node.puppet.directory}\n"
        'if [ "$1" = config ]; then exec cat settings; fi\n'
        # Without `exec` the shell would be looked at while it starts cat, with all signals blocked.
        "exec cat /proc/self/status >status\n"
    )
    begun(node).end()
    status = dict(
        line.split(":", 1) for line in node.puppet.directory.joinpath("status").read_text().splitlines()
    )
    assert int(status["SigBlk"], 16) == 0
    # Python ignores SIGXFSZ for itself; in a service of Puppet's own it is as the kernel has it. What
    # else is ignored comes from whoever runs these tests: a shell in the background, say.
    assert not int(status["SigIgn"], 16) >> (signal.SIGXFSZ - 1) & 1


def test_what_is_on_record_when_it_begins(node: House) -> None:
    node.puppet.hold()
    question = begun(node, ASKED._replace(tags=("a",)))
    record = node.store.read(RUN)
    assert record is not None
    assert (record["run"], record["state"], record["caller"]) == (RUN, "running", "anonymous")
    assert record["options"] == {"noop": False, "tags": ["a"], "environment": None}
    current = node.store.current()
    assert current is not None
    assert (current.run, current.pid, current.alive) == (RUN, question.process.pid, True)
    node.puppet.let_go()
    question.end()
    assert not current.alive


def test_who_may_look_at_the_records(node: House) -> None:
    begun(node).end()
    info = os.stat(node.store.directory)
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (0, TWITCH_GID, 0o750)
    assert os.stat(node.run / "puppet-twitch/settings.json").st_mode & 0o777 == 0o600


def test_the_journal_hears_who_asked_and_what_was_answered(node: House) -> None:
    begun(
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


def test_a_listener_that_has_gone_does_not_keep_the_run_from_happening(node: House) -> None:
    question = Question(node, ASKED, run=RUN)
    question.peer.close()
    assert question.end() == 0
    assert len(node.puppet.runs()) == 1


@pytest.mark.parametrize(
    "shebang", [pytest.param("#!/nowhere/ruby", id="no-interpreter"), pytest.param("", id="no-format")]
)
def test_an_exec_that_fails_after_the_answer_is_on_record(node: House, shebang: str) -> None:
    Question(node, ASKED, run=new_run(1)).end()
    node.conclude(new_run(1))
    # What was kept of the settings is still good by its stamps: only the content is of no use.
    before = node.puppet.path.stat()
    settings = node.run.joinpath("puppet-twitch/settings.json")
    node.puppet.path.write_text(shebang.ljust(before.st_size, "\n"))
    settings.write_text(
        settings.read_text().replace(str(before.st_ctime_ns), str(node.puppet.path.stat().st_ctime_ns))
    )
    node.configure("[access]\ncooldown = 0\n")
    question = begun(node)
    assert question.end() == 1
    node.conclude(RUN, exit_status="1")
    record = node.store.read(RUN)
    assert record is not None
    assert (record["state"], record["verdict"]) == ("finished", "not attempted")
    assert f"{node.puppet.path} cannot be executed" in record["reason"]
