"""REDbot, from PyPI, asks as a browser or a cache would and judges the answers of the real listener.

Other public suites do not fit: h2spec is for HTTP/2, wapiti and schemathesis test applications and not
the bytes below them, and scanners for smuggling look for two servers, a proxy and the one behind it.
h1spec and Http11Probe are in no registry; they were followed by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.machine import Machine

REDBOT = Path(__file__).resolve().parents[2] / "build" / "venv" / "bin" / "redbot"

# RFC 9110 gives Location no meaning in a 202 (section 10.2.2), but wants the answer to point to a
# monitor (section 15.3.3): this is how everybody does it.
ACCEPTED_NOTES = {"LOCATION_UNDEFINED"}

PATHS = {
    "/version": 200,
    "/info": 200,
    "/puppet/status": 200,
    "/puppet/runs": 200,
    "/puppet/twitch": 202,
    "/puppet/nothing": 404,
}


@pytest.mark.parametrize(("path", "status"), PATHS.items())
def test_redbot_reports_no_fault(shared_stub_node12: Machine, path: str, status: int) -> None:
    argv = [os.fspath(REDBOT), "-o", "har", f"http://{shared_stub_node12.address}:2023{path}"]
    report = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    entries = json.loads(report)["log"]["entries"]
    assert entries[0]["response"]["status"] == status
    notes = {note["note_id"]: note["level"] for entry in entries for note in entry["_red_messages"]}
    assert notes["CL_CORRECT"] == "GOOD"
    assert {note for note, level in notes.items() if level in ("WARN", "BAD")} <= ACCEPTED_NOTES
