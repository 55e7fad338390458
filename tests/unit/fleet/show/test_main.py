"""The command `show`: groups, JSON, files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.fleet.show import realistic
from twitch.errors import TwitchError, UsageError
from twitch.fleet.events import Ask, Change, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import recent
from twitch.fleet.show.main import main
from twitch.fleet.show.reports import Files
from twitch.fleet.show.result_file import ResultWriter

NODES = 600


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("results") / "deploy.jsonl"
    writer = ResultWriter(path)
    for line in realistic.lines(NODES, seed=3):
        writer.write(line)
    writer.close()
    return str(path)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "puppet-twitch"


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_show_prints_the_summary_with_commands_for_this_file(
    result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, result)
    assert text.startswith(f"Puppet run on {NODES} nodes, ")
    assert f"puppet-twitch-fleet run --from {result} " in text


def test_show_prints_the_nodes_of_a_group_folded_and_with_their_errors(
    result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    number, names, empty, first, error, *_ = output(capsys, result, "failed").splitlines()
    assert number.endswith(" nodes")
    assert ".example.net" in names
    assert empty == ""
    assert " failed (" in first
    assert error.startswith("    ")


@pytest.mark.parametrize(
    "group", ["new", "before", "fixed", "uncertain", "remaining", *(o.option for o in Outcome)]
)
def test_show_takes_every_group(group: str, result: str, capsys: pytest.CaptureFixture[str]) -> None:
    fields = json.loads(output(capsys, result, group, "--json"))
    names = output(capsys, result, group, "--names").split()
    assert [node["node"] for node in fields["nodes"]] == names
    assert output(capsys, result, group).partition(" ")[0] == str(len(names))


def test_show_prints_one_node_with_its_resources(result: str, capsys: pytest.CaptureFixture[str]) -> None:
    (name, *_) = output(capsys, result, "failed", "--names").split()
    text = output(capsys, result, name)
    assert "    failed  " in text
    assert "    changed  File[/etc/ntp.conf]  content  ntp/manifests/config.pp:12\n" in text


def test_show_prints_the_table_and_the_nodes_of_a_resource(
    result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = output(capsys, result, "changes")
    line = next(line for line in table.splitlines() if "File[/etc/ntp.conf]" in line)
    nodes = output(capsys, result, "File[/etc/ntp.conf]", "--names").split()
    assert line.split()[0] == str(len(nodes))


def test_show_of_a_node_with_a_long_error_is_bounded_and_json_has_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "x" * 256 * 1024
    writer = ResultWriter(tmp_path / "result")
    writer.write(Plan(1.0, ("a", "b"), Ask(), "a b", 1, 0, 0, None, 7))
    changes = (Change(f"File[/{long}]", "failed", message=long),)
    writer.write(NodeEvent(2.0, "a", "ended", outcome=Outcome.FAILED, error=long, changes=changes))
    writer.write(NodeEvent(2.0, "b", "ended", outcome=Outcome.NOT_STARTED))
    writer.write(Summary(3.0, {}, 1, 0, 0, 10, f"a has changed {long}"))
    writer.close()
    for words in ([], ["a"], ["failed"], ["changes"]):
        main([str(tmp_path / "result"), *words])
        assert max(map(len, capsys.readouterr().out.splitlines())) < 5000
    main([str(tmp_path / "result"), "a", "--json"])
    assert long in capsys.readouterr().out


def test_show_refuses_a_word_that_is_no_group(result: str) -> None:
    with pytest.raises(UsageError, match="weather: neither a group"):
        main((result, "weather"))


def test_show_as_json_has_numbers_causes_and_changes(result: str, capsys: pytest.CaptureFixture[str]) -> None:
    fields = json.loads(output(capsys, result, "--json"))
    assert fields["nodes"] == sum(fields["outcomes"].values()) == NODES
    assert fields["failed_new"] + fields["failed_before"] == fields["outcomes"]["failed"]
    assert sum(len(cause["nodes"]) for cause in fields["causes"]) == NODES - fields["outcomes"][
        "unchanged"
    ] - fields["outcomes"].get("changed", 0)
    assert fields["complete"] is True
    assert {"resource", "properties", "place", "outcome", "nodes"} <= set(fields["changes"][0])


def test_show_writes_the_page_and_junit(
    result: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    assert output(capsys, result, "--html", str(page), "--junit", str(junit)) == ""
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert junit.read_text().startswith("<?xml ")
    # And what is asked for besides is printed.
    assert json.loads(output(capsys, result, "--json", "--html", str(page)))["nodes"]
    assert output(capsys, result, "failed", "--html", str(page))


def test_show_without_a_file_takes_the_newest(
    result: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TwitchError, match=f"no result in {state}"):
        main(())
    path = recent.new_path()
    path.write_bytes(Path(result).read_bytes())
    assert output(capsys) == output(capsys, str(path))
    assert output(capsys, "failed") == output(capsys, str(path), "failed")


def test_show_of_another_file_is_an_error(tmp_path: Path) -> None:
    other = tmp_path / "nodes.txt"
    other.write_text("web1\n")
    with pytest.raises(TwitchError, match="not a result of puppet-twitch-fleet"):
        main((str(other),))


# ---- the files of the state directory


def test_only_the_newest_results_are_kept(state: Path) -> None:
    state.mkdir()
    for second in range(30):
        (state / f"fleet-20260101T0000{second:02}-1.jsonl").touch()
    (state / "notes.txt").touch()
    path = recent.new_path()
    path.touch()
    left = sorted(file.name for file in state.glob("fleet-*"))
    assert len(left) == recent.KEPT
    assert left[0] == "fleet-20260101T000011-1.jsonl"
    assert recent.newest() == path
    assert (state / "notes.txt").exists()


def test_results_are_only_their_owners(state: Path) -> None:
    recent.new_path()
    assert state.stat().st_mode & 0o777 == 0o700


def test_a_relative_state_directory_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert recent.folder() == tmp_path / ".local/state/puppet-twitch"


# ---- the files beside the result


def test_a_file_that_cannot_be_written_is_an_error_before_the_run(tmp_path: Path) -> None:
    Files(junit=str(tmp_path / "a"), html="b", remaining=os.devnull).check()
    with pytest.raises(UsageError, match="is a directory; name a file"):
        Files(html=str(tmp_path)).check()
    with pytest.raises(UsageError, match="there is no directory"):
        Files(junit=str(tmp_path / "none" / "a")).check()


def test_the_nodes_that_remain_are_written_one_a_line(tmp_path: Path) -> None:
    results = realistic.results(2000)
    path = tmp_path / "remaining"
    assert Files(remaining=str(path)).write(results, result=None) == []
    assert path.read_text().split() == results.remaining() != []


def test_a_file_that_cannot_be_written_any_more_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    files = Files(junit=str(tmp_path / "none" / "a"), html=str(tmp_path / "page.html"))
    (error,) = files.write(realistic.results(30), result=None)
    assert error == f"{tmp_path}/none/a cannot be written: No such file or directory"
    assert (tmp_path / "page.html").exists()
