"""The Bolt tasks of the Puppet module, as Bolt runs them: the executable in a directory of its own, with the
files that its metadata names, and JSON on standard input. The node is a real listener."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.drivers.answering_node import AnsweringNode
from tests.unit.pki import PKI
from twitch.fleet import exits
from twitch.fleet.outcomes import Outcome

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "puppet-module" / "twitch"
UTILS = REPOSITORY / "ansible-collection/plugins/module_utils"
TASKS = {path.stem: json.loads(path.read_text()) for path in (MODULE / "tasks").glob("*.json")}
LIMIT_S = 60


@pytest.fixture
def installdir(tmp_path: Path) -> Path:
    """Return a directory as Bolt makes it for each task: the tasks, and the files of their metadata."""
    for path in ("tasks", *(file.partition("/")[2] for file in TASKS["run"]["files"])):
        shutil.copytree(MODULE / path, tmp_path / "twitch" / path)
    return tmp_path


def task(
    installdir: Path, name: str, path: str = "/usr/bin:/bin", **parameters: Any
) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the result of a task."""
    done = subprocess.run(
        [installdir / "twitch/tasks" / f"{name}.py"],
        input=json.dumps({**parameters, "_installdir": os.fspath(installdir), "_task": f"twitch::{name}"}),
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.stderr == "", done.stdout
    return done.returncode, json.loads(done.stdout)


def target(node: AnsweringNode, **options: Any) -> dict[str, Any]:
    """Return a target as Bolt describes it to a remote task."""
    return {
        "name": "localhost", "host": "127.0.0.1", "port": node.port, "protocol": "remote",
        "run-on": "localhost", "token": node.tokens["deploy"], **options,
    }  # fmt: skip


@pytest.mark.parametrize("verdict", ["changed", "unchanged"])
def test_a_good_run(answering: AnsweringNode, installdir: Path, verdict: str) -> None:
    status, result = task(installdir, "run", _target=target(answering), label=verdict)
    assert (status, result["outcome"], result["verdict"]) == (0, verdict, verdict)
    assert result["changed"] == (verdict == "changed")
    assert re.fullmatch("[0-9a-f]{32}", result["run"])
    assert result["_output"].startswith(f"{verdict}: run {result['run']}")
    assert ("File[/etc/motd] content (/etc/puppet/site.pp:12)" in result["_output"]) == (verdict == "changed")


@pytest.mark.parametrize(
    ("label", "kind", "text"),
    [
        ("failed", "twitch/failed", "Package[nginx] failed: Execution of apt-get returned 100"),
        ("interrupted", "twitch/interrupted", "killed by SIGTERM"),
        ("not-attempted", "twitch/not-attempted", "the certificate is not signed"),
        ("busy", "twitch/busy", "Puppet already running"),
    ],
)
def test_a_run_that_is_not_good_has_a_kind(
    answering: AnsweringNode, installdir: Path, label: str, kind: str, text: str
) -> None:
    status, result = task(installdir, "run", _target=target(answering), label=label)
    assert (status, result["_error"]["kind"]) == (1, kind)
    assert text in result["_error"]["msg"]
    assert result["_error"]["details"]["run"] == result["run"]


@pytest.mark.parametrize("parameters", [{"_noop": True}, {"noop": True}])
def test_noop(answering: AnsweringNode, installdir: Path, parameters: dict[str, Any]) -> None:
    status, result = task(installdir, "run", _target=target(answering), label="changed", **parameters)
    assert (status, result["outcome"], result["noop"], result["would_change"]) == (0, "pending", True, 2)
    assert answering.asked[-1].noop


def test_noop_without_the_grant_never_becomes_a_run(answering: AnsweringNode, installdir: Path) -> None:
    before = len(answering.asked)
    token = answering.tokens["small"]
    status, result = task(installdir, "run", _target=target(answering, token=token), _noop=True)
    assert (status, result["_error"]["kind"]) == (1, "twitch/refused")
    assert "noop" in result["_error"]["msg"]
    assert len(answering.asked) == before


def test_a_run_has_the_options_of_the_task(answering: AnsweringNode, installdir: Path) -> None:
    options: dict[str, Any] = {
        "tags": ["ntp", "ssh"],
        "environment": "test",
        "queue": False,
        "label": "CHG-1",
    }
    assert task(installdir, "run", _target=target(answering), **options)[0] == 0
    asked = answering.asked[-1]
    assert (asked.tags, asked.environment, asked.queue) == (("ntp", "ssh"), "test", False)
    assert (asked.label, asked.caller) == ("CHG-1", "token:deploy")


def test_a_disabled_node(disabled: AnsweringNode, installdir: Path) -> None:
    status, result = task(installdir, "run", _target=target(disabled))
    assert (status, result["outcome"], result["disabled"]) == (0, "disabled", True)
    assert (result["reason"], result["disabled_by"]) == ("CHG-7 kernel", "token:deploy")
    status, result = task(installdir, "run", _target=target(disabled), disabled="fail")
    assert (status, result["_error"]["kind"]) == (1, "twitch/disabled")


def test_a_late_run_can_be_followed(answering: AnsweringNode, installdir: Path) -> None:
    status, result = task(installdir, "run", _target=target(answering), label="late", wait=1)
    assert (status, result["_error"]["kind"]) == (1, "twitch/late")
    again, second = task(installdir, "run", _target=target(answering), run=result["run"], wait=1)
    assert (again, second["_error"]["kind"], second["run"]) == (1, "twitch/late", result["run"])
    assert [run.label for run in answering.asked].count("late") == 1


def test_a_run_is_started_without_waiting(answering: AnsweringNode, installdir: Path) -> None:
    status, result = task(installdir, "run", _target=target(answering), label="changed", wait=0)
    assert (status, result["outcome"]) == (0, "running")
    status, result = task(installdir, "run", _target=target(answering), run=result["run"])
    assert (status, result["outcome"]) == (0, "changed")


def test_without_the_grant_status_the_run_is_named(
    answering_tls: AnsweringNode, ca: str, installdir: Path
) -> None:
    answering_tls.forbid_status()
    options = {"ca_path": ca, "token": answering_tls.tokens["blind"]}
    status, result = task(installdir, "run", _target=target(answering_tls, **options))
    answering_tls.allow_status()
    assert (status, result["_error"]["kind"]) == (1, "twitch/refused")
    assert (
        f"run {result['run']} was started, but cannot be followed: Not allowed: token:blind has no"
        in result["_error"]["msg"]
    )


def test_a_busy_node(busy: AnsweringNode, installdir: Path) -> None:
    for queue in (False, True):
        options: dict[str, Any] = {"queue": queue, "wait": 1 if queue else 60}
        status, result = task(installdir, "run", _target=target(busy), **options)
        assert (status, result["_error"]["kind"]) == (1, "twitch/busy")


def test_a_closed_port_is_unreachable(answering: AnsweringNode, installdir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = target(answering, port=unused.getsockname()[1])
    status, result = task(installdir, "run", _target=closed)
    assert (status, result["_error"]["kind"]) == (1, "twitch/unreachable")


def test_tls_verifies_the_name_of_the_target(
    answering_tls: AnsweringNode, pki: PKI, ca: str, installdir: Path
) -> None:
    cert, key = pki.certificate("operator")
    files = {"client-cert": os.fspath(cert), "client-key": os.fspath(key), "ca-path": ca, "token": None}
    named = target(answering_tls, **files)
    status, result = task(installdir, "run", _target=named, label="changed")
    assert (status, result["outcome"]) == (0, "changed")
    assert answering_tls.asked[-1].caller == "cert:operator"
    before = len(answering_tls.asked)
    status, result = task(installdir, "run", _target={**named, "name": "web2.example.com"})
    assert (status, result["_error"]["kind"]) == (1, "twitch/unreachable")
    assert "Hostname mismatch" in result["_error"]["msg"]
    assert len(answering_tls.asked) == before


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "transport: remote"),
        ({"_target": {"name": "web1"}, "token": "T" * 43}, "not sent over plain HTTP"),
        ({"_target": {"name": "web1"}, "ca_path": "/no/such/file"}, "ca_path: /no/such/file"),
    ],
)
def test_an_invalid_parameter_is_named(installdir: Path, parameters: dict[str, Any], text: str) -> None:
    status, result = task(installdir, "run", **parameters)
    assert (status, result["_error"]["kind"]) == (1, "twitch/invalid")
    assert text in result["_error"]["msg"]


# ---- the task fleet


@pytest.fixture
def fleet_options(
    answering_tls: AnsweringNode, pki: PKI, ca: str, fleet: str, tmp_path: Path
) -> dict[str, Any]:
    """Return the parameters of a fleet of one node."""
    cert, key = pki.certificate("operator")
    return {
        "targets": ["localhost"], "port": answering_tls.port, "executable": fleet, "puppetdb": "none",
        "client_cert": os.fspath(cert), "client_key": os.fspath(key), "ca_path": ca, "puppetserver": ["none"],
    }  # fmt: skip


def test_fleet_returns_numbers_and_names(installdir: Path, fleet_options: dict[str, Any]) -> None:
    status, result = task(installdir, "fleet", label="changed", **fleet_options)
    assert (status, result["nodes"], result["counts"]) == (0, 1, {"changed": 1})
    assert (result["changed"], result["remaining"]) == (True, [])
    assert "1 changed" in result["_output"]


def test_fleet_with_noop(
    answering_tls: AnsweringNode, installdir: Path, fleet_options: dict[str, Any]
) -> None:
    status, result = task(installdir, "fleet", label="changed", _noop=True, **fleet_options)
    assert (status, result["counts"]) == (0, {"pending": 1})
    assert answering_tls.asked[-1].noop


def test_fleet_with_failures_has_a_kind(
    installdir: Path, fleet_options: dict[str, Any], tmp_path: Path
) -> None:
    result_file = tmp_path / "result"
    options = {**fleet_options, "result_file": os.fspath(result_file)}
    status, result = task(installdir, "fleet", label="failed", **options)
    assert (status, result["_error"]["kind"]) == (1, "twitch/fleet")
    assert "1 failed" in result["_error"]["msg"]
    assert result["groups"] == {"failed": ["localhost"]}
    assert "Package[nginx] failed" in result["errors"]["localhost"]
    assert result_file.is_file()


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"query": "nodes[certname] { }", "executable": "no-such-fleet"}, "not installed"),
        ({}, "Exactly one of"),
        ({"query": "x", "targets": ["y"]}, "Exactly one of"),
    ],
)
def test_fleet_says_why_nothing_was_started(installdir: Path, parameters: dict[str, Any], text: str) -> None:
    status, result = task(installdir, "fleet", **parameters)
    assert (status, result["_error"]["kind"]) == (1, "twitch/invalid")
    assert text in result["_error"]["msg"]


def test_fleet_passes_on_what_the_command_says(installdir: Path, fleet_options: dict[str, Any]) -> None:
    status, result = task(installdir, "fleet", **{**fleet_options, "at_once": "many"})
    assert (status, result["_error"]["kind"]) == (1, "twitch/not-started")
    assert "many" in result["_error"]["msg"]


# ---- the files


@pytest.mark.parametrize("name", ["_access", "_answers", "_fleet", "_runs", "_verdicts"])
def test_bolt_and_ansible_have_the_same_logic(name: str) -> None:
    assert (MODULE / f"files/bolt_tasks/{name}.py").read_text() == (UTILS / f"{name}.py").read_text()


def test_tasks_know_the_exit_statuses_and_outcomes_of_the_command() -> None:
    _fleet = runpy.run_path(os.fspath(MODULE / "files/bolt_tasks/_fleet.py"))
    assert _fleet["NOTHING_STARTED"] == exits.NOTHING_STARTED
    bits = {exits.FAILURES, exits.UNREACHABLE, exits.STOPPED, exits.UNCERTAIN}
    assert set(_fleet["BITS"]) == bits
    remaining = {Outcome.NOT_STARTED, Outcome.LATE, Outcome.LOST, Outcome.UNPROVEN}
    assert set(_fleet["REMAINING"]) == {outcome.value for outcome in remaining}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_metadata_is_what_bolt_takes(name: str) -> None:
    # lib/bolt/task.rb of Bolt 3 warns of other keys; a task without a file of its own has `implementations`.
    known = {"description", "extensions", "files", "implementations", "input_method", "parameters", "private"}
    known |= {"puppet_task_version", "remote", "supports_noop"}
    metadata = TASKS[name]
    assert set(metadata) <= known
    assert os.access(MODULE / f"tasks/{name}.py", os.X_OK)
    assert (metadata["input_method"], metadata["supports_noop"]) == ("stdin", True)
    assert metadata.get("remote", False) == (name == "run")
    for file in metadata["files"]:
        assert file.endswith("/") and (MODULE.parent / file).is_dir()
    for parameter, spec in metadata["parameters"].items():
        assert set(spec) <= {"description", "type", "default", "sensitive"}, parameter
        assert re.fullmatch("[a-z][a-z0-9_]*", parameter)
        assert ("default" in spec) != spec["type"].startswith("Optional"), parameter


def test_plan_calls_functions_of_puppet_and_bolt_alone() -> None:
    # `puppet parser validate` accepts any name, and stdlib's `count` has passed as one of Puppet's.
    lines = (MODULE / "plans/rollout.pp").read_text().splitlines()
    code = "\n".join(line for line in lines if not line.startswith("#"))
    called = set(re.findall(r"(?<![.a-z_:])([a-z_]+(?:::[a-z_]+)*)\(", code))
    of_puppet, of_bolt = {"empty", "length"}, {"canary::random_split", "fail_plan", "get_targets", "run_task"}
    assert called <= of_puppet | of_bolt
    methods = set(re.findall(r"\.([a-z_]+)", code))
    assert methods <= {"error", "filter", "kind", "map", "name", "ok", "reduce", "results", "slice"}


def test_types_of_the_parameters_are_types_of_puppet(tmp_path: Path) -> None:
    types = [spec["type"] for metadata in TASKS.values() for spec in metadata["parameters"].values()]
    values = [
        (spec["type"], json.dumps(spec["default"]))
        for metadata in TASKS.values()
        for spec in metadata["parameters"].values()
        if "default" in spec
    ]
    assert len(types) > 40
    code = "\n".join(f"assert_type({text}, {value})" for text, value in values)
    code += "\n" + "\n".join(f"$t{number} = {text}" for number, text in enumerate(types))
    words = ("puppet", "apply", "--noop", "--confdir", tmp_path, "--vardir", tmp_path / "var", "-e", code)
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
