"""What others check HTTP servers with, against the real listener behind its real socket.

Two suites from PyPI, in versions that tests/requirements.txt and the Makefile name: REDbot, which asks as a
browser or a cache would and judges the answers, and the requests that gunicorn's parser is held to,
good and bad ones.

Others do not fit: h2spec is for HTTP/2, wapiti and schemathesis test applications and not the bytes below
them, and scanners for smuggling look for two servers, a proxy and the one behind it. h1spec and Http11Probe
are in no registry; they were followed by hand.
"""

from __future__ import annotations

import functools
import json
import re
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

VENV = Path(__file__).resolve().parents[2] / "build" / "venv"


@pytest.fixture(scope="module")
def served(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12)
    yield node12
    stub.clear(node12)


# ---- REDbot

# RFC 9110 gives Location no meaning in a 202 (section 10.2.2), but wants the answer to point to a monitor
# (section 15.3.3): this is how everybody does it.
OURS = {"LOCATION_UNDEFINED"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/version", 200),
        ("/info", 200),
        ("/puppet/status", 200),
        ("/puppet/runs", 200),
        ("/puppet/twitch", 202),
        ("/puppet/nothing", 404),
    ],
)
def test_redbot_finds_no_fault(served: Machine, path: str, status: int) -> None:
    argv = [f"{VENV}/bin/redbot", "-o", "har", f"http://{served.address}:2023{path}"]
    said = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    entries = json.loads(said)["log"]["entries"]
    assert entries[0]["response"]["status"] == status
    notes = {note["note_id"]: note["level"] for entry in entries for note in entry["_red_messages"]}
    assert notes["CL_CORRECT"] == "GOOD"
    assert {note for note, level in notes.items() if level in ("WARN", "BAD")} <= OURS


# ---- gunicorn's requests


@functools.cache
def requests(kind: str) -> dict[str, tuple[bytes, str]]:
    """Return the requests of a kind by name, each with what gunicorn expects of it, a piece of Python."""
    (archive,) = (VENV / "suites").glob("gunicorn-*.tar.gz")
    with tarfile.open(archive) as tar:
        files = {
            path.name: reader.read()
            for member in tar
            if (path := Path(member.name)).parts[1:-1] == ("tests", "requests", kind)
            and (reader := tar.extractfile(member))
        }
    return {
        name: (spelled_out(data), files[name.replace(".http", ".py")].decode())
        for name, data in sorted(files.items())
        if name.endswith(".http")
    }


def spelled_out(data: bytes) -> bytes:
    """Read the notation of gunicorn's files, in which the ends of lines mean nothing."""
    data = data.replace(b"\n", b"")
    for written, meant in ((rb"\r", b"\r"), (rb"\n", b"\n"), (rb"\t", b"\t"), (rb"\0", b"\0")):
        data = data.replace(written, meant)
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), data)


def answers(node: Machine, sent: bytes) -> tuple[list[int], bytes]:
    """Return the status codes of all answers until the end of the connection, and their bytes."""
    with socket.create_connection((node.address, 2023), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    return [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", said)], said


def lacks_host(sent: bytes) -> bool:
    """Whether RFC 9112 section 3.2 demands 400, which gunicorn leaves to applications."""
    head = sent.split(b"\r\n\r\n")[0].lower()
    return b"http/1.1" in head and b"\r\nhost:" not in head


# Good HTTP to gunicorn, refused here: by what the name contains, why.
STRICTER = {
    "obs_fold": "folded headers (RFC 9112 section 5.2 allows both)",
    "pp_": "the PROXY protocol is no HTTP, and gunicorn's own option",
    "leading_crlf": "an empty line before a request (RFC 9112 section 2.2: SHOULD be ignored; h11 does not)",
    "connect": "this is no proxy",
    "authority": "this is no proxy",
}
# Bad by a limit or an option of gunicorn's own, good HTTP here.
OPTIONS = ("cfg.set(", "LimitRequest")
HARMLESS = {"041.http": "two Content-Types, and no body"}


@pytest.mark.parametrize("name", requests("valid"))
def test_good_requests_are_read(served: Machine, name: str) -> None:
    sent, _ = requests("valid")[name]
    codes, said = answers(served, sent)
    # Nothing is there that gunicorn's requests name, but each is read to its end or its limit.
    allowed = [404, 411, 413, 414]
    if lacks_host(sent) or any(part in name for part in STRICTER):
        allowed += [400]
    assert codes[0] in allowed, said


@pytest.mark.parametrize("name", requests("invalid"))
def test_bad_requests_are_refused_and_end_the_connection(served: Machine, name: str) -> None:
    sent, python = requests("invalid")[name]
    codes, said = answers(served, sent)
    assert len(codes) == 1, said
    if codes == [404]:
        assert name in HARMLESS or any(part in python for part in OPTIONS)
    else:
        assert codes[0] in (400, 411, 414, 505), said
        assert b"\r\nconnection: close\r\n" in said.lower()
