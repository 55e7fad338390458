from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from twitch.fleet.events import Ask, Change, Counts, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.result_file import ResultError, ResultWriter, read
from twitch.fleet.show.result_lines import LineError, from_json, to_json

PLAN = Plan(
    time=1000.0,
    nodes=("web1", "web2"),
    ask=Ask(noop=True, tags=("ntp", "ssh"), label="CHG-123"),
    who="nodes { }",
    at_once=20,
    canary=0,
    max_failures=2,
    max_unreachable=None,
    seed=7,
    puppetdb="https://puppetdb:8081",
    failed_before=("web2",),
)
EVENT = NodeEvent(
    time=1001.25,
    node="web1",
    event="ended",
    run="a" * 32,
    outcome=Outcome.NOT_ATTEMPTED,
    new=False,
    counts=Counts(total=7, failed=1),
    duration_s=3.5,
    error="Could not\x1b[31m find é\ud800",
    changes=(Change("File[/etc/motd]", "failed", ("content",), "site.pp", 12, "no space"),),
    canary=True,
)
SUMMARY = Summary(1002.0, {Outcome.FAILED: 1, Outcome.NOT_STARTED: 1}, 1, 0, 0, 2, "the budget")


@pytest.mark.parametrize("line", [PLAN, EVENT, SUMMARY, NodeEvent(1.0, "a", "queued")])
def test_a_line_is_read_as_it_was_written(line: Plan | NodeEvent | Summary) -> None:
    assert from_json(to_json(line)) == line


def test_a_line_is_ascii_and_leaves_out_what_is_not_known() -> None:
    line = to_json(NodeEvent(1.23456, "wéb", "queued", new=False))
    assert line.isascii()
    assert json.loads(line) == {
        "line": "node", "time": 1.235, "node": "wéb", "event": "queued", "new": False
    }  # fmt: skip


def test_a_field_of_a_later_version_is_ignored() -> None:
    fields = {**json.loads(to_json(EVENT)), "weather": "fine"}
    assert from_json(json.dumps(fields)) == EVENT


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "it is not JSON"),
        pytest.param("[" * 100_000, "it is not JSON", id="nested"),
        ("7", "it has no 'line'"),
        ('{"line": ["node"]}', "it has no 'line'"),
        ('{"line": "weather"}', "its 'line' is 'weather', and neither plan, node nor summary"),
        ('{"line": "node", "node": "a", "event": "ended"}', "it has no 'time'"),
        ('{"line": "node", "time": true, "node": "a", "event": "ended"}', "its 'time' is not a number"),
        ('{"line": "node", "time": 1, "node": 7, "event": "ended"}', "its 'node' is not a text"),
        ('{"line":"node","time":1,"node":"a","event":"b","outcome":"fine"}', "its 'outcome' is none of unch"),
        ('{"line":"node","time":1,"node":"a","event":"b","counts":[]}', "its 'counts' is not an object"),
        ('{"line":"node","time":1,"node":"a","event":"b","changes":{}}', "its 'changes' is not a list"),
        (to_json(SUMMARY).replace('{"failed":1,"not started":1}', "[]"), "its 'outcomes' is not an object"),
        ('{"line":"plan","time":1,"version":9}', "version 9 of the format, and this program reads version 1"),
        ('{"line":"plan","time":1}', "version None"),
    ],
)
def test_an_invalid_line_is_refused_with_the_reason(text: str, error: str) -> None:
    with pytest.raises(LineError) as raised:
        from_json(text)
    assert error in str(raised.value)


def written(path: Path, *lines: Plan | NodeEvent | Summary) -> Path:
    writer = ResultWriter(path)
    for line in lines:
        writer.write(line)
    writer.close()
    return path


def test_a_line_is_in_the_file_when_it_has_been_written(tmp_path: Path) -> None:
    path = tmp_path / "result"
    writer = ResultWriter(path)
    writer.write(PLAN)
    writer.write(EVENT)
    assert [from_json(line) for line in path.read_text().splitlines()] == [PLAN, EVENT]
    writer.close()


def test_a_result_is_read_as_the_events_say(tmp_path: Path) -> None:
    results = read(written(tmp_path / "result", PLAN, EVENT, SUMMARY))
    assert results.plan == PLAN
    assert results.summary == SUMMARY
    assert results.nodes["web1"].outcome is Outcome.NOT_ATTEMPTED
    assert not results.cut


def test_a_private_result_is_only_its_owners(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path / "result", private=True)
    writer.close()
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o600


def test_a_private_result_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResultError, match="symbolic links"):
        ResultWriter(tmp_path / "link", private=True)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("left", [1, 20, 60])
def test_a_cut_last_line_is_left_out_and_said_so(tmp_path: Path, left: int) -> None:
    path = written(tmp_path / "result", PLAN, EVENT)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:left])
    results = read(path)
    assert results.cut
    assert results.nodes["web1"].step is None


def test_a_resumed_result_goes_on_after_a_cut_line(tmp_path: Path) -> None:
    path = written(tmp_path / "result", PLAN, EVENT)
    path.write_bytes(path.read_bytes()[:-10])
    results = read(written(path, PLAN, EVENT))
    assert not results.cut
    assert results.nodes["web1"].outcome is Outcome.NOT_ATTEMPTED


def test_a_resumed_result_goes_on_after_a_line_without_a_newline(tmp_path: Path) -> None:
    path = written(tmp_path / "result", PLAN, EVENT)
    path.write_bytes(path.read_bytes()[:-1])
    assert read(written(path, SUMMARY)).nodes["web1"].outcome is Outcome.NOT_ATTEMPTED


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "is empty: nothing was started with it"),
        (b"web1\nweb2\n", "is not a result of puppet-twitch-fleet (--json): line 1: it is not JSON"),
        (b"web1", "is not a result of puppet-twitch-fleet (--json): line 1: it is not JSON"),
        (b"\xff\xfe\x00\n", "is not a result"),
        (to_json(EVENT).encode() + b"\n", "line 1: it is not a plan"),
        (to_json(PLAN._replace(version=2)).encode() + b"\n", "version 2 of the format"),
        (to_json(PLAN).encode() + b"\nweather\n" + to_json(EVENT).encode() + b"\n", "line 2 cannot be read"),
        (to_json(PLAN).encode() + b"\nweather\n", "line 2 cannot be read: it is not JSON"),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "result"
    path.write_bytes(content)
    with pytest.raises(ResultError) as raised:
        read(path)
    assert error in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_a_result_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "nodes.txt"
    path.write_text("web1\nweb2\n")
    with pytest.raises(ResultError, match="not a result"):
        ResultWriter(path)
    assert path.read_text() == "web1\nweb2\n"


def test_a_path_that_cannot_be_used_is_an_error_with_its_name(tmp_path: Path) -> None:
    for use in (read, ResultWriter):
        with pytest.raises(ResultError, match=f"{tmp_path}.* cannot be"):
            use(tmp_path)


def test_a_line_that_does_not_fit_leaves_no_part_of_it(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = written(tmp_path / "result", PLAN)
    size = path.stat().st_size
    if os.fork() == 0:  # the limit is of a process of its own
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))
            with pytest.raises(ResultError, match="cannot be written: File too large"):
                ResultWriter(path).write(EVENT)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.wait()[1] == 0
    assert path.stat().st_size == size


def test_a_pipe_takes_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    written(path, PLAN)
    assert from_json(os.read(reader, 65536)) == PLAN
    os.close(reader)


def test_standard_output_is_written_to_and_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    writer = ResultWriter("-")
    writer.write(EVENT)
    writer.close()
    print("the rest", flush=True)
    line, rest = capfd.readouterr().out.splitlines()
    assert (from_json(line), rest) == (EVENT, "the rest")


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity", "1e13", "1" + "0" * 400])
def test_a_time_that_cannot_be_is_refused(number: str) -> None:
    with pytest.raises(LineError, match="its 'time' is not a number that can be"):
        from_json(f'{{"line":"node","time":{number},"node":"web1","event":"ended"}}')
