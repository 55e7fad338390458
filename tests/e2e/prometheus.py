"""Prometheus and node_exporter, as programs of this host (tests/prepare) in the lab's network."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tests.lab.errors import LabError

PROGRAMS = Path(__file__).resolve().parents[2] / "build/prometheus"
TIMEOUT_S = 120


class Program:
    """A program that serves HTTP on the loopback of the lab."""

    def __init__(self, log: Path, port: int) -> None:
        self.log, self.port = log, port

    def get(self, path: str) -> str:
        """Return the body of an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now, each with its labels and value."""
        answer = json.loads(self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression})))
        return [{**series["metric"], "value": series["value"][1]} for series in answer["data"]["result"]]

    def wait(self, expression: str, *, jobs: Collection[str] = ()) -> list[dict[str, Any]]:
        """Wait until an expression has a series, and one of each of these jobs; return all of its series."""
        until = time.monotonic() + TIMEOUT_S
        while not ((found := self.query(expression)) and {*jobs} <= {series.get("job") for series in found}):
            if time.monotonic() > until:
                raise LabError(
                    f"{expression}: nothing\n{self.get('/api/v1/targets')}\n{self.log.read_text()}"
                )
            time.sleep(0.2)
        return found


@contextlib.contextmanager
def _serving(directory: Path, port: int, name: str, *options: str, ready: str) -> Iterator[Program]:
    """Run a program; `ready` is a path that it answers with 200 when it serves."""
    log = directory / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen([PROGRAMS / name, *options], stdout=output, stderr=subprocess.STDOUT)
    try:
        program = Program(log, port)
        until = time.monotonic() + TIMEOUT_S
        while True:
            try:
                program.get(ready)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise LabError(f"{name} does not answer\n{log.read_text()}") from None
                time.sleep(0.1)
        yield program
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def prometheus(directory: Path, jobs: list[dict[str, Any]], rules: Path) -> Iterator[Program]:
    """Run Prometheus with these jobs, each scraped every second, and these rules."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": jobs,
    }
    path = directory / "prometheus.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    options = (f"--config.file={path}", f"--storage.tsdb.path={directory / 'data'}")
    address = "--web.listen-address=127.0.0.1:9090"
    # It answers /metrics before it answers queries.
    with _serving(directory, 9090, "prometheus", *options, address, ready="/-/ready") as program:
        yield program


@contextlib.contextmanager
def node_exporter(directory: Path, textfiles: Path) -> Iterator[Program]:
    """Run node_exporter with its textfile collector only."""
    options = ("--collector.disable-defaults", "--collector.textfile")
    address = "--web.listen-address=127.0.0.1:9100"
    where = f"--collector.textfile.directory={textfiles}"
    with _serving(
        directory, 9100, "prometheus-node-exporter", *options, where, address, ready="/metrics"
    ) as program:
        yield program
