"""Root's parsers, for the fuzzer of test_corpus.py: what the listener, Puppet and the kernel hand to root."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from unittest import mock

from tests.unit import reports
from tests.unit.fuzz_listener import JSON, show_record, show_status
from tests.unit.fuzzing import Parser
from tests.unit.records import RUN, finished
from tests.unit.reports import BEGAN
from tests.unit.root.test_verdict import evidence
from twitch import messages
from twitch.errors import PacketError, PuppetError
from twitch.holds import UNKNOWN
from twitch.node_status import DISABLED, IDLE, LastRun, NodeStatus
from twitch.record_files import MAX_RECORD_CHARS, encode
from twitch.records import RUN_ID, Options, from_json
from twitch.root import (
    claims,
    holds_in_lock,
    progress,
    puppet,
    puppet_locks,
    report,
    report_to_record,
    settings,
    verdict,
)
from twitch.root import process as process_module
from twitch.root.report import Report, Summary
from twitch.root.settings import Settings

PID = 4242  # of a process that is only in the files of a test
# An attacker must not fill the journal or an answer.
MAX_NAMED, MAX_NAME_CHARS = 20, 200

ALL = Settings(**{name: f"/var/{name}" for name in Settings._fields})._replace(runtimeout="1h")
PRINTED = "".join(f"{name} = {value}\n" for name, value in ALL._asdict().items())
KEPT: dict[str, Any] = {
    "settings": ALL._asdict(),
    "stamps": [["/puppet", 1], ["/puppet.conf", 2]],
    "moved": [],
}

EXITS = (("exited", "0"), ("exited", "1"), ("exited", "2"), ("killed", "KILL"), ("", ""))


# ---- the listener's packets


def packet(data: bytes, path: Path) -> bool:
    try:
        question = messages.decode_question(data)
    except PacketError as error:
        assert "\n" not in str(error)
        return False
    if isinstance(question, messages.Cancel):
        assert question.run == "current" or RUN_ID.fullmatch(question.run)
        assert messages.decode_question(messages.encode(question)) == question
    if isinstance(question, messages.Disable):
        assert "\n" not in question.reason and len(question.reason) <= 200
        assert messages.decode_question(messages.encode(question)) == question
    if isinstance(question, messages.Run):
        for word in (*question.tags, *filter(None, [question.environment])):
            assert word.isascii()
            assert word.isprintable()
            assert not word.startswith("-")
        assert isinstance(question.noop, bool)
        assert messages.decode_question(messages.encode(question)) == question
    return True


# ---- what Puppet writes


def last_report(data: bytes, path: Path) -> bool:
    """Read a report, judge it, and show the verdict; a name in it cannot forge a line."""
    path.write_bytes(data)
    found = report.read(os.fspath(path))
    if found is None:
        return False
    assert found.status in report.STATUSES
    assert len(found.failed_resources) <= MAX_NAMED
    for name in found.failed_resources:
        assert len(name) <= MAX_NAME_CHARS
        assert "\n" not in name
    check_counts(found.counts)
    check_verdicts(report=found)
    record = report_to_record.with_report(finished("failed"), found)
    written = encode(record)
    assert len(written) < MAX_RECORD_CHARS
    assert from_json(json.loads(written)) == record
    show_record(record)
    report_to_record.of_puppet(found)
    return True


def last_summary(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    found = report.read_summary(os.fspath(path))
    if found is None:
        return False
    check_counts(found.counts)
    check_verdicts(summary=found)
    last = LastRun(
        verdict.from_summary(found), found.last_run, found.duration_s, found.counts, found.environment
    )
    status = NodeStatus(IDLE, last=last)
    answer = messages.Answer(messages.STATUS, status=status)
    assert messages.decode_answer(messages.encode(answer)).status == status
    show_status(status)
    return found.last_run is not None


def check_counts(counts: Mapping[str, int]) -> None:
    assert set(counts) <= set(report.COUNTS)
    assert all(type(count) is int for count in counts.values())


def check_verdicts(**found: Report | Summary) -> None:
    """Judge a run with this report or summary, however Puppet has ended, and show the verdict."""
    for code, status in EXITS:
        judged = verdict.judge(evidence(status, exit_code=code, **found))
        record = finished(judged.word, reason=judged.reason, unreported=judged.unreported)
        for source in found.values():
            names = {*source._fields} & {"environment", "counts", "failed_resources", "ended", "noop"}
            record = record._replace(**{name: getattr(source, name) for name in names})
        show_record(record)


def run_lock(data: bytes, path: Path) -> bool:
    """Read the agent's lock; a process that it names is a Puppet here."""
    path.write_bytes(data)
    with mock.patch.object(puppet_locks, "is_puppet", lambda pid: True):
        holder = puppet_locks.run_lock_holder(os.fspath(path))
    if holder is None:
        return False
    assert 0 <= holder.pid < 10**10
    assert holder.age_s >= 0
    return True


def disabled_lock(data: bytes, path: Path) -> bool:
    """Read the lock that disables the agent, whatever is in it; accepted is one with a reason."""
    path.write_bytes(data)
    reason = puppet_locks.disabled_reason(os.fspath(path))
    assert reason is not None
    assert len(reason) <= puppet_locks.MAX_REASON_CHARS
    answer = messages.Answer(messages.DISABLED, reason=reason)
    sent = messages.encode(answer)
    assert len(sent) <= messages.MAX_PACKET_BYTES
    assert messages.decode_answer(sent) == answer
    lock = holds_in_lock.parse(data, BEGAN)
    assert lock.message == reason
    for hold in lock.holds:
        assert hold.caller == UNKNOWN or re.fullmatch(messages.REASON, hold.reason)
    status = NodeStatus(DISABLED, reason=reason, disabled=lock.disabled)
    sent = messages.encode(messages.Answer(messages.STATUS, status=status))
    assert len(sent) <= messages.MAX_ANSWER_BYTES
    show_status(status)
    # What is written back is the same lock.
    again = holds_in_lock.parse(holds_in_lock.content_of(lock), BEGAN)
    assert (again.message, again.others) == (lock.message, lock.others)
    assert lock.foreign or again.holds == lock.holds
    return bool(reason)


# ---- what Puppet prints, and what is kept of it


def printed(data: bytes, path: Path) -> bool:
    """Read what `puppet config print` prints."""
    done = subprocess.CompletedProcess([], 0, data, data)
    with mock.patch("subprocess.run", lambda *_, **__: done):
        try:
            found = settings.load("/bin/false", os.fspath(path.parent / "none" / "cache"), {})
        except PuppetError as error:
            assert "\n" not in str(error)
            return False
    check_settings(found)
    return True


def kept(data: bytes, path: Path) -> bool:
    """Read the settings that are kept from the last time; where they are refused, Puppet is asked again."""
    path.write_bytes(data)
    asked_again = ALL._replace(logdest="asked again")
    with (
        mock.patch.object(settings, "_ask", lambda *_: asked_again),
        mock.patch.object(settings, "_stamps", lambda *_: KEPT["stamps"]),
    ):
        found = settings.load("/puppet", os.fspath(path), {})
    check_settings(found)
    return found != asked_again


def check_settings(found: Settings) -> None:
    """Use each of the settings, as a run does."""
    for value in found:
        assert isinstance(value, str)
    limit_s = found.runtimeout_s
    assert limit_s is None or limit_s > 0
    puppet_locks.is_stuck(10, limit_s)
    puppet_locks.run_lock_holder(found.agent_catalog_run_lockfile)
    puppet_locks.disabled_reason(found.agent_disabled_lockfile)
    report.read(found.lastrunreport)
    report.read_summary(found.lastrunfile)
    report.written_since(found.lastrunreport, BEGAN)
    progress.resources(found.resourcefile)


def options(data: bytes, path: Path) -> bool:
    """Split PUPPET_EXTRA_OPTS, which systemd hands over as bytes; nothing but quotes and blanks is lost."""
    text = os.fsdecode(data.replace(b"\0", b""))
    words = puppet.site_options({"PUPPET_EXTRA_OPTS": text})
    unquoted = str.maketrans("", "", " \t\n\r'\"")
    assert "".join(words).translate(unquoted) == text.translate(unquoted)
    settings._moving(words)
    return bool(words)


# ---- records and claims


def claim(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    found = claims.read(os.fspath(path))
    if found is None:
        return False
    assert RUN_ID.fullmatch(found.run)
    assert found.alive in (True, False)
    path.write_text(json.dumps(found.to_json()))
    assert claims.read(os.fspath(path)) == found
    return True


# ---- the kernel


def process(data: bytes, path: Path) -> bool:
    """Read a process: the first line is its name, the rest its command line. Accepted is a Puppet."""
    name, _, arguments = data.partition(b"\n")
    files = {"comm": name[:15] + b"\n", "cmdline": arguments}
    with proc(path, puppet_locks, files):
        return puppet_locks.is_puppet(PID)


def process_times(data: bytes, path: Path) -> bool:
    """Read the start of a process: its state is the first byte, then its name. Accepted is a live one."""
    state, name = data[:1], data[2:17]
    rest = ["1", "2", "3", *["0"] * 15, "777", *["0"] * 30]
    line = f"{PID} (".encode() + name + b") " + (state if state.isalpha() else b"S")
    with proc(path, process_module, {"stat": line + f" {' '.join(rest)}\n".encode()}):
        start = process_module.start_time(PID)
    assert start in (None, 777)
    return start is not None


@contextmanager
def proc(path: Path, module: object, files: Mapping[str, bytes]) -> Iterator[None]:
    """Let a module read these files for those of /proc/PID."""
    for name, data in files.items():
        path.with_name(name).write_bytes(data)

    def opened(name: str, *arguments: Any, **named: Any) -> IO[Any]:
        assert os.path.dirname(name) == f"/proc/{PID}"
        beside = path.with_name(os.path.basename(name))
        file: IO[Any] = open(beside, *arguments, **named)  # noqa: SIM115  # for the caller
        return file

    with mock.patch.object(module, "open", opened, create=True):
        yield


YAML = (
    *(
        b": ",
        b"- ",
        b"  ",
        b"? ",
        b"&a ",
        b"*a",
        b"[" + b",".join([b"*a"] * 9) + b"]",
        b"!ruby/object:Object",
    ),
    *(
        b"!!python/name:os",
        b"|-\n",
        b">",
        b"'",
        b'"',
        b"[",
        b"{",
        b"2024-02-30",
        b"1:60:60",
        b".nan",
        b".inf",
    ),
    *(b"0x_", b"<<: ", b"\t", b"---\n", b"...\n", b"time:\n", b"  last_run: ", b"resources:\n"),
)
REPORT = (
    *(b"status: failed\n", b"    failed: true\n", b"    resource: ", b"resource_statuses:\n", b"metrics:\n"),
    *(
        b"logs:\n",
        b"time: ",
        b"transaction_completed: true\n",
        b"- level: err\n",
        b"  message: ",
        b"  source: ",
        b"    changed: true\n",
        b"    out_of_sync: true\n",
        b"    skipped: true\n",
        b"- level: warning\n",
        b"    events:\n    - ",
        b"      message: ",
        b"    containment_path:\n    - ",
        b'"changed":true',
        b'"events":[',
    ),
)
REAL = Path(__file__).parent / "reports_of_puppet"
REPORTS = {
    **{name: (REAL / name).read_text() for name in ("puppet8-details.yaml", "puppet8-details.json")},
    "changed": reports.report(),
    "failed": reports.report(status="failed", failed=tuple(reports.TITLES)),
    "odd": reports.report(job_id="123e4567123e4567123e4567123e4567", version="0x_"),
    "years": reports.report().replace(
        "time: '2026-01-22T09:05:00.500000000+", "time: '9999-12-31T23:59:59.9-"
    ),
}
CLAIMS = {
    "current": claims.Claim(RUN, os.getpid(), 5, Options(True, ("a",), "staging")),
    "ended": claims.Claim(RUN, 10**14, -1, ended=1769072702.75, named=False),
}

PARSERS = {
    "packets": Parser(
        packet,
        (*JSON, b'"ask": "run"', b'"tags"', b"--server", b'"force"'),
        made={
            "cancel": messages.encode(messages.Cancel(RUN, "token:deploy", "192.0.2.7", force=True)),
            "disable": messages.encode(messages.Disable("token:deploy", "192.0.2.7", "CHG-1", 1795657185)),
            "enable": messages.encode(messages.Enable("token:deploy", "192.0.2.7", force=True)),
        },
    ),
    "reports": Parser(
        last_report,
        (*YAML, *REPORT),
        ("alias-bomb", "deep-metrics"),
        made={name: text.encode() for name, text in REPORTS.items()},
    ),
    "summaries": Parser(last_summary, YAML, made={"changed": reports.SUMMARY.encode()}),
    "run-locks": Parser(run_lock, (b"1", b" ", b"\n", b"-", b"\xd9\xa1"), ("pid", "newline", "zeros")),
    "disabled-locks": Parser(
        disabled_lock,
        (*JSON, b"disabled_message", b"puppet_twitch", b"holds", b"until"),
        ("reason", "long", "surrogates", "utf8", "holds", "holds-without-a-caller"),
    ),
    "settings-printed": Parser(
        printed, (b" = ", b"\n", b"runtimeout = ", b"1h", b"/", b"Warning: "), made={"all": PRINTED.encode()}
    ),
    "settings-kept": Parser(
        kept,
        (*JSON, b"settings", b"stamps", b"moved", b"runtimeout"),
        made={"all": json.dumps(KEPT).encode()},
    ),
    "options": Parser(
        options,
        (b"'", b'"', b"\\", b" ", b"--noop", b"--vardir=", b"#", b"$A", b"\t"),
        ("noop", "quotes", "open-quote", "not-utf8", "hash", "backslash"),
    ),
    "claims": Parser(
        claim,
        (*JSON, b"pid", b"start", b"options", b"ended"),
        made={name: json.dumps(one.to_json()).encode() for name, one in CLAIMS.items()},
    ),
    "processes": Parser(
        process,
        (b"ruby", b"puppet", b"\0", b"\n", b"-", b"\xff"),
        ("agent", "ruby", "daemon", "anything-puppet"),
    ),
    "process-times": Parser(
        process_times,
        (b")", b"(", b" ", b"\n", b"Z", b"\xff"),
        ("plain", "parentheses", "spaces", "newline", "bytes"),
    ),
}
