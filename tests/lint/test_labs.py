"""The labs of `make test`: those with a puppetserver are named in the Makefile, because each start of one is
the 30 s of CPU time of a hundred other tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Prints the tests that need a puppetserver, by the names of the fixtures that conftest.py looks for.
COLLECT = """\
import sys
import pytest

class Plugin:
    def pytest_collection_modifyitems(self, items):
        for item in items:
            if {"server", "agent", "site"} & set(item.fixturenames):
                print("NEEDS", item.nodeid)

sys.exit(pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Plugin()]))
"""


@pytest.mark.parametrize(("lab", "needs"), [("nodes", False), ("faults", False), ("agents", True)])
def test_labs_without_a_puppetserver_need_none(lab: str, needs: bool) -> None:
    make = subprocess.run(["make", "-n", f"test-{lab}"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = re.findall(r"tests/e2e/test_\w+\.py", make.stdout)
    command = [sys.executable, "-c", COLLECT, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    found = [line for line in done.stdout.splitlines() if line.startswith("NEEDS ")]
    assert bool(found) == needs, found
