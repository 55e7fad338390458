"""`puppet-twitch runs` and `puppet-twitch run`: the records, as a person names and reads them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.unit.cli.command import Commands, on_terminal, run_id
from twitch.records import FINISHED, Record

ONE, TWO, THREE = "1a2b" + "c" * 28, "1a2b" + "d" * 28, "3" * 32


def record(commands: Commands, run: str, verdict: str, ago_s: float, **fields: Any) -> None:
    """Write the record of a run that has ended."""
    began = time.time() - ago_s
    end = {"started": began, "ended": began + 28, "duration_s": 28.0, "verdict": verdict}
    by = {"caller": "token:deploy", "client": "192.0.2.7"}
    commands.node.store.write(Record(run, FINISHED, began, **{**by, **end, **fields}))


@pytest.fixture
def three(commands: Commands) -> Commands:
    """Return the commands of a node with three runs."""
    commands.node.store.prepare(0)
    record(commands, ONE, "unchanged", 2 * 86400 + 60)
    by = {"caller": "user:alice", "client": "local"}
    record(commands, TWO, "failed", 3 * 3600 + 60, reason="File[/etc/motd] failed", **by)
    record(commands, THREE, "changed", 12 * 60 + 1)
    return commands


def test_runs_are_a_table_with_the_newest_first(three: Commands) -> None:
    code, out, err = three.run("runs")
    assert (code, err) == (0, "")
    assert out == (
        "RUN       BEGAN       VERDICT    TOOK  ASKED BY                   WHY\n"
        "33333333  12 min ago  changed    28s   token:deploy at 192.0.2.7\n"
        "1a2bdddd  3 h ago     failed     28s   user:alice                 File[/etc/motd] failed\n"
        "1a2bcccc  2 days ago  unchanged  28s   token:deploy at 192.0.2.7\n"
    )


def test_runs_that_failed_and_a_number_of_runs(three: Commands) -> None:
    assert ids(three.run("runs", "--failed").out) == ["1a2bdddd"]
    assert ids(three.run("runs", "-n", "2").out) == ["33333333", "1a2bdddd"]


def ids(table: str) -> list[str]:
    """Return the first column of a table."""
    return [line.split()[0] for line in table.splitlines()[1:]]


def test_json_of_runs_is_that_of_the_api(three: Commands) -> None:
    runs = json.loads(three.run("runs", "--json").out)["runs"]
    assert [run["run"] for run in runs] == [THREE, TWO, ONE]
    assert (runs[1]["verdict"], runs[1]["caller"], runs[1]["client"]) == ("failed", "user:alice", "local")
    assert runs[1]["ended"].endswith("Z")


def test_table_is_cut_to_the_width_of_a_terminal(three: Commands) -> None:
    lines = on_terminal(three, "runs", columns=60).splitlines()
    assert lines[1] == "33333333  12 min ago  \033[32mchanged\033[0m    28s   token:deploy at 192.…"
    assert lines[2] == "1a2bdddd  3 h ago     \033[31mfailed\033[0m     28s   user:alice          …"


def test_run_is_the_last_one_unless_it_is_named(three: Commands) -> None:
    for words in ((), ("last",), (THREE,), ("3333",)):
        code, out, _ = three.run("run", *words)
        assert code == 0
        assert out.splitlines()[0] == "changed; 28s"
        assert out.splitlines()[-1].startswith(f"run {THREE} by token:deploy at 192.0.2.7, began ")
        assert out.endswith("(12 min ago)\n")
    code, out, _ = three.run("run", "1a2bd")
    assert (code, out.splitlines()[:2]) == (0, ["failed; 28s", "  File[/etc/motd] failed"])
    assert f"run {TWO} by user:alice" in out


def test_json_of_a_run_is_that_of_the_api(three: Commands) -> None:
    fields = json.loads(three.run("run", "--json", "1a2bd").out)
    assert (fields["run"], fields["verdict"], fields["reason"]) == (TWO, "failed", "File[/etc/motd] failed")


NAMES = {
    "ambiguous": ("1a2b", 64, "1a2b: 2 runs begin with this; write more digits of the id"),
    "too-short": ("333", 64, "'333' names no run; write the id of the run, its first 4 or more digits"),
    "no-id": ("motd", 64, "'motd' names no run"),
    "path": ("../../../etc/x", 64, "'../../../etc/x' names no run"),
    "unknown": ("4444", 1, "No run 4444; puppet-twitch runs shows the last ones"),
    "none-under-way": ("current", 1, "No run of puppet-twitch is under way"),
}


@pytest.mark.parametrize(("word", "code", "text"), NAMES.values(), ids=NAMES)
def test_word_that_names_no_run(three: Commands, word: str, code: int, text: str) -> None:
    done = three.run("run", word)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"puppet-twitch: {text}")


def test_node_without_a_run_says_so(commands: Commands) -> None:
    assert commands.run("runs") == (0, "No runs on record yet\n", "")
    assert commands.run("runs", "--failed") == (0, "No such runs\n", "")
    assert commands.run("run") == (1, "", "puppet-twitch: No runs on record yet\n")


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_number_of_runs_is_checked(commands: Commands, number: str) -> None:
    done = commands.run("runs", f"-n{number}")
    assert (done.code, done.err) == (64, "puppet-twitch: -n must be a number of runs, such as 5\n")


VERDICTS = {"unchanged": 0, "changed": 0, "failed": 1, "interrupted": 2, "not attempted": 3, "busy": 3}


@pytest.mark.parametrize(("verdict", "code"), VERDICTS.items())
def test_exit_code_with_wait_is_that_of_the_verdict(commands: Commands, verdict: str, code: int) -> None:
    commands.node.store.prepare(0)
    record(commands, ONE, verdict, 60)
    assert commands.run("run").code == 0
    assert commands.run("run", "--wait").code == code


def test_current_run_is_waited_for(commands: Commands) -> None:
    commands.node.puppet.hold_runs()
    commands.run("trigger")
    code, out, _ = commands.run("run", "current")
    waiting = commands.start("run", run_id(1), "--wait")
    commands.node.puppet.release_run()
    done = commands.end(waiting)
    assert (code, out.splitlines()[0]) == (0, "running")
    assert (done.code, done.out.split()[0]) == (0, "changed")
    assert f"run {run_id(1)} by user:" in out
    assert f"run {run_id(1)} by user:" in done.out


def test_reader_that_ends_ends_the_command_quietly(three: Commands) -> None:
    process = three.start("runs")
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
