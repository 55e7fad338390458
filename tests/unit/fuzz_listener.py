"""The listener's parsers, for the fuzzer of test_corpus.py: of what clients, files and root send."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Optional

from tests.unit.fuzzing import Parser
from tests.unit.records import RUN, finished
from tests.unit.records import record as started
from twitch import config, log_lines, log_packets, messages, run_wording, views, wording
from twitch.caller import Caller
from twitch.config import Config
from twitch.errors import ConfigError, PacketError
from twitch.listener import access, tls, tokens
from twitch.listener.access import Credentials
from twitch.listener.api import ending, parameters, reply, routes
from twitch.listener.api.routes import TRIGGER
from twitch.listener.exchange import Exchange, HTTPError, Request
from twitch.listener.tokens import Token
from twitch.log_lines import Line
from twitch.messages import BUSY, COOLDOWN, DISABLED, STATUS, Answer
from twitch.node_status import IDLE, RUNNING, STUCK, Doing, LastRun, NodeStatus
from twitch.record_files import Records, encode
from twitch.records import RUN_ID, Options, Record
from twitch.resources import Event, Resource

SECRET = Token("deploy", "0" * 64, None)  # no known token has this digest
CALLERS = (
    Caller("anonymous", "192.0.2.7", frozenset()),
    Caller("token:deploy", "192.0.2.7", frozenset(config.GRANTS), named=True),
)
# RFC 3986 appendix B: scheme, authority, path and query of any URL.
URL = re.compile(r"(?:([^:/?#]+):(?=//))?(//[^/?#]*)?([^?#]*)(?:\?([^#]*))?")


# ---- requests


def request(data: bytes, path: Path) -> bool:
    """Read requests; how their bytes are divided among packets must not matter."""
    whole = requests(data, len(data))
    assert requests(data, len(data) // 2) == whole
    if len(data) < 500:
        assert requests(data, *range(len(data))) == whole
    return bool(whole[0]) and whole[1] is None


def requests(data: bytes, *cuts: int) -> tuple[list[Request], Optional[int]]:
    """Return the requests in data that arrive in pieces, and the status that refuses what follows."""
    exchange = Exchange("192.0.2.7", lambda: None)
    found = []
    start = 0
    try:
        for end in sorted({*cuts, len(data)}):
            if end > start:
                exchange.receive(data[start:end])
            start = end
            while (one := exchange.next_request()) is not None:
                check_request(one)
                found.append(one)
                sent = exchange.send(reply.render(reply.Reply(200, "x")), last=False)
                assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
                if not exchange.reusable:
                    return found, None
                exchange.start_next()
    except HTTPError as error:
        assert error.status in (400, 411, 413, 414, 431, 505)
        return found, error.status
    return found, None


def headers(data: bytes, path: Path) -> bool:
    exchange = Exchange("192.0.2.7", lambda: None)
    exchange.receive(b"POST /puppet/twitch HTTP/1.1\r\n" + data)
    try:
        found = exchange.next_request()
    except HTTPError as error:
        assert error.status in (400, 411, 413, 431)
        return False
    if found is None:
        return False
    check_request(found)
    return True


def check_request(found: Request) -> None:
    assert "transfer-encoding" not in found.headers
    assert len(found.body) == int(found.headers.get("content-length", "0"))
    for name, value in found.headers.items():
        assert re.fullmatch("[a-z0-9!#$%&'*+.^_`|~-]+", name)
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)


def target(data: bytes, path: Path) -> bool:
    """Read a request target; its path and query are those of RFC 3986."""
    exchange = Exchange("192.0.2.7", lambda: None)
    exchange.receive(b"GET " + data + b" HTTP/1.1\r\nHost: node\r\n\r\n")
    try:
        found = exchange.next_request()
        if found is None or b" " in data or b"\n" in data:
            return False
        assert found.target == data.decode("ascii")
        name, query = routes._split(found.target)
        parts = URL.match(found.target)
        assert parts
        assert (found.target.startswith("/") or parts[1]) and query == (parts[4] or "")
        written = found.target.partition("?")[0] if found.target.startswith("/") else parts[3]
        assert "%" in written or name == (written or "/")
        route, run = routes._route(name)
        values = parameters.read(found, query, route.parameters)
        for value in (values.wait(), values.duration("max_age")):
            assert value is None or value >= 0
        parameters.trigger(values)
    except HTTPError as error:
        assert error.status in (400, 404, 405, 414, 431, 505)
        assert "\n" not in str(error)
        return False
    return not run or bool(RUN_ID.fullmatch(run))


def parameter(data: bytes, path: Path) -> bool:
    kind = parameters.JSON if data[:1] in (b"{", b"[") else parameters.FORM
    found = Request("POST", "/puppet/twitch", {"content-type": kind}, data, "192.0.2.7")
    try:
        trigger = parameters.trigger(parameters.read(found, "", TRIGGER))
    except HTTPError as error:
        assert error.status == 400
        assert str(error).isprintable()
        return False
    assert isinstance(trigger.noop, bool)
    assert isinstance(trigger.queue, bool)
    assert 0 <= trigger.wait_s <= parameters.MAX_WAIT_S
    run = messages.Run("anonymous", "192.0.2.7", tags=trigger.tags, environment=trigger.environment)
    assert messages.decode_question(messages.encode(run)) == run  # which checks the words
    return True


# ---- who asks


def authorization(data: bytes, path: Path) -> bool:
    credentials = Credentials(data.decode("latin-1"), None, True)  # as a header arrives
    try:
        access.identify(Config(), (SECRET,), "192.0.2.7", credentials)
    except HTTPError as error:
        assert error.status == 401
        return False
    return True


def certname(data: bytes, path: Path) -> bool:
    """Read the subject of a certificate, which has a CN for each line of the data."""
    names = tuple((("commonName", line),) for line in data.decode("utf-8", "replace").split("\n"))
    try:
        name = tls.certname({"subject": ((("organizationName", "x"),), *names)})
    except HTTPError as error:
        assert error.status == 403
        return False
    assert name
    run = messages.Run(f"cert:{name}", "192.0.2.7")
    assert messages.decode_question(messages.encode(run)) == run
    return True


def token_file(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        loaded = tokens.load(os.fspath(path))
    except ConfigError as error:
        check_one_line(error)
        return False
    for token in loaded:
        assert re.fullmatch(tokens.NAME, token.name)
        assert re.fullmatch(tokens.DIGEST, token.digest)
    return True


def configuration(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        loaded = config.load(os.fspath(path))
    except ConfigError as error:
        check_one_line(error)
        return False
    plain = {name for name in config.GRANTS if name != "environment"}  # which needs a pattern
    for caller, grants in loaded.grants.items():
        assert caller == "anonymous" or re.fullmatch(config.CALLER, caller)
        assert all(word in plain or re.fullmatch(config.ENVIRONMENT_GRANT, word) for word in grants)
    for address in ("192.0.2.7", "::1"):
        access.is_address_accepted(loaded, address)
    return True


def check_one_line(error: ConfigError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) > 20


# ---- root's side


def answer(data: bytes, path: Path) -> bool:
    try:
        found = messages.decode_answer(data)
    except PacketError:
        return False
    assert messages.decode_answer(messages.encode(found)) == found
    if found.status:
        show_status(found.status)
    return True


def log_question(data: bytes, path: Path) -> bool:
    try:
        question = log_packets.decode_question(data)
    except PacketError:
        return False
    assert RUN_ID.fullmatch(question.run)
    assert log_packets.decode_question(log_packets.encode_question(question)) == question
    return True


def log_packet(data: bytes, path: Path) -> bool:
    try:
        found = list(log_packets.decode(data))
    except PacketError:
        return False
    for one in found:
        if isinstance(one, Line):
            assert all(line.startswith("  ") for line in one.text().split("\n")[1:])
            assert "\n" not in one.json()
    return True


def show_status(status: NodeStatus) -> None:
    for caller in CALLERS:
        show(wording.status_text(status, caller), views.status_fields(status, caller))


def record(data: bytes, path: Path) -> bool:
    directory = path.parent / "runs"
    directory.mkdir(exist_ok=True)
    (directory / f"{RUN}.json").write_bytes(data)
    found = Records(os.fspath(path.parent)).read(RUN)
    if found is None:
        return False
    show_record(found)
    return True


def show_record(found: Record) -> None:
    for caller in CALLERS:
        show(run_wording.run_text(found, caller), views.run_fields(found, caller))
        show(views.failure(found, caller, waited=True), {})
        show(wording.runs_text([found, found], caller), {})
    for name, value in ending.run_headers(found):
        assert value is not None, name


def show(text: str, fields: dict[str, Any]) -> None:
    for accept in ("", parameters.JSON):
        body = reply.render(reply.Reply(200, text, fields), accept).body
        assert isinstance(body, bytes)
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", body)
        assert not accept or json.loads(body)


JSON = (
    *(
        b'{"',
        b'": ',
        b"[",
        b"]",
        b"{}",
        b", ",
        b"null",
        b"true",
        b"1e14",
        b"-1",
        b"1e999",
        b"NaN",
        b"9" * 400,
    ),
    *(b'"\\u001b[31m"', b'"\\ud800"', b'"\\u202e"'),
)

LAST = LastRun("changed", 1769072702.75, 2.25, {"total": 12, "changed": 3}, "production", noop=False)
ANSWERS = {
    "busy": Answer(BUSY, run=RUN),
    "cooldown": Answer(COOLDOWN, retry_after_s=7),
    "disabled": Answer(DISABLED, reason="\x1b[2J\u202e\ud800\n\0"),
    "status": Answer(
        STATUS, status=NodeStatus(IDLE, run=RUN, queued=RUN, since=1769072700.5, pid=42, last=LAST)
    ),
    "progress": Answer(
        STATUS,
        status=NodeStatus(
            RUNNING,
            pid=42,
            phase="applying",
            resources=574,
            elapsed_s=60,
            usual_s=35,
            doing=Doing("\x1b[2J", 9),
        ),
    ),
    "years": Answer(
        STATUS, status=NodeStatus(STUCK, since=9e14, last=LAST._replace(ended=-9e14, duration_s=-1.0))
    ),
}
FINISHED = finished(
    "failed",
    reason="\x1b[2J\u202e\ud800\n\0",
    error="it failed",
    counts={"total": 12, "failed": 1},
    failed_resources=("Exec[x]",),
    environment="production",
    settings={"logdest": ""},
    options=Options(True, ("a", "b"), "staging"),
    label="CHG-123",
    resources=(Resource("Exec[\x1b]", "failed", True, "/a\n", 7, (Event("a\u202e", None, "\ud800"),)),),
    resources_left_out=3,
)
RECORDS = {"running": started(), "finished": FINISHED, "years": FINISHED._replace(ended=9e14, started=-9e14)}

PARSERS = {
    "requests": Parser(
        request,
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"Content-Length: 3\r\n",
            b"Host: a\r\n",
            b"HEAD ",
            b"HTTP/1.0",
        ),
        ("get", "post", "two", "head-1.0", "continue", "absolute", "many-headers"),
    ),
    "headers": Parser(
        headers,
        (
            b"Content-Length: ",
            b"Transfer-Encoding: chunked\r\n",
            b"Host: a\r\n",
            b"x: y\r\n",
            b" ",
            b"\t",
            b",",
        ),
        ("plain", "ipv6-host", "latin1-value", "name-of-underscores", "body"),
    ),
    "targets": Parser(
        target,
        (
            *(b"http://", b"/", b"//", b"?", b"#", b"\\", b"%2f", b"%00", b"%", b"..", b"@", b"&"),
            *(b"/puppet/twitch", b"/puppet/runs/", b"noop=true", b"wait=5"),
        ),
        (
            *("plain", "escaped", "query", "absolute", "run", "upper-case-scheme", "empty-query"),
            *("escaped-slash", "max-age"),
        ),
    ),
    "parameters": Parser(
        parameter,
        (*JSON, b"&", b"=", b"%", b"%00", b"noop", b"tags=", b"environment", b"wait"),
        ("form", "json", "bare"),
    ),
    "authorization": Parser(authorization, (b"Bearer ", b"bearer", b" ", b"Basic ", b",", b"=", b"x")),
    "certnames": Parser(certname, (b"\n", b"a", b".", b"*", b" ", b"\xc4\xb1"), ("plain", "long")),
    "tokens": Parser(
        token_file,
        (b"deploy ", b"0" * 64, b" 2099-01-01", b"#", b"\n", b"\f", b"-"),
        ("no-newline", "crlf", "leap", "year-9999", "same-twice", "form-feed", "anonymous"),
    ),
    "configuration": Parser(
        configuration,
        (
            *(b"[access]\n", b"[tls]\n", b"[puppet]\n", b"anonymous = ", b"from = ", b"10.0.0.0/8", b"::"),
            *(b"status", b" = ", b"%(x)s", b"*", b"cooldown = ", b"command = apply\n", b"manifest = /"),
        ),
        ("continued", "star-alone", "utf8-space"),
    ),
    "answers": Parser(answer, JSON, made={name: messages.encode(one) for name, one in ANSWERS.items()}),
    "log-questions": Parser(
        log_question,
        (*JSON, b'"run": "', b'"after": ', b'"level": "err"', b'"follow": true', b"0" * 32),
        made={"all": log_packets.encode_question(log_packets.Read("1" * 32, 3, 4, "err", True, 5))},
    ),
    "log-packets": Parser(
        log_packet,
        (*JSON, b"\n", b'"event": "end"', b'"at": ', b'"time": ', b'"message": "', b"\\n", b"\\u001b"),
        made={
            "line": log_lines.encode(Line(3, 1769072699.25, "err", "/Stage[main]/File[a]", "b\nc")),
            "event": log_packets.encode_event("end", lines=7),
        },
    ),
    "records": Parser(record, JSON, made={name: encode(one) for name, one in RECORDS.items()}),
}
