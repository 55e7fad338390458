"""A PuppetDB that knows the simulated nodes, and the reports of the runs that have ended on them.

It answers what twitch/fleet/puppetdb asks: an AST of `from`, `extract`, `=`, `~`, `in`, `and`, `or`, `not`,
`group_by` and `count`. PQL text is an operator's query: it finds all nodes, or those whose names match
`certname ~ "…"` in it.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Callable

from tests.fleet_nodes.scene import NodeSpec
from tests.fleet_nodes.web import Reply, Web

Row = dict[str, Any]
Test = Callable[[Row], bool]

# The versions below 7.13 take long for long arrays (PDB-3171), so a client asks them for fewer at once.
VERSION = "8.4.1"
# A report has no status of its own for a run that was cut short.
REPORTED = ("unchanged", "changed", "failed")


class PuppetDB:
    """Nodes and reports in memory."""

    def __init__(self, nodes: Sequence[NodeSpec]) -> None:
        self.web = Web(self.answer)
        self.version = VERSION
        self.queue_depth = 0
        self.longest_array = 0  # that a query had
        self._nodes = {node.name: _node(node) for node in nodes}
        self._reports: dict[str, Row] = {}  # by job_id
        self._events: list[Row] = []
        self._held: list[Row] = []  # records that wait in the queue
        self._holds = self.loses = False
        self.goes_after = 0  # so many reports; 0: it stays

    def take(self, record: Row) -> None:
        """Take the record of a run that has ended, as the puppetserver submits its report."""
        if record["verdict"] not in REPORTED or self.loses:
            return
        if self._holds:
            self._held.append(record)
        else:
            self._store(record)
        if self.goes_after and len(self._reports) >= self.goes_after:
            self.goes_after = 0
            self.web.stop()

    def hold(self, holds: bool) -> None:
        """Let reports wait in the queue, or store those that wait."""
        self._holds = holds
        while self._held and not holds:
            self._store(self._held.pop(0))

    def fail_before(self, names: Sequence[str]) -> None:
        """Let the last runs of these nodes have failed."""
        for name in names:
            self._nodes[name]["latest_report_status"] = "failed"

    def answer(self, path: str, fields: Row) -> Reply:
        """Answer a request."""
        if path == "/pdb/meta/v1/version":
            return Reply(200, {"version": self.version})
        if path == "/status/v1/services/puppetdb-status":
            depth = self.queue_depth + len(self._held)
            return Reply(200, {"state": "running", "status": {"queue_depth": depth, "read_db_up?": True}})
        if path != "/pdb/query/v4":
            return Reply(404, "Not Found")
        query = fields["query"]
        if isinstance(query, str):
            pattern = re.search(r'certname\s*~\s*"([^"]*)"', query)
            found = [name for name in self._nodes if not pattern or re.search(pattern[1], name)]
            return Reply(200, [{"certname": name} for name in found])
        return Reply(200, self.query(query))

    def query(self, query: list[Any]) -> list[Row]:
        """Return the rows that an AST finds."""
        _, entity, body = query
        rows = self._rows(entity)
        if body[0] != "extract":
            return list(filter(self._test(body), rows))
        columns = [body[1]] if isinstance(body[1], str) else body[1]
        conditions = [one for one in body[2:] if one[0] != "group_by"]
        for condition in conditions:
            rows = list(filter(self._test(condition), rows))
        names = [column for column in columns if isinstance(column, str)]
        if len(names) == len(columns):
            return [{name: row.get(name) for name in names} for row in rows]
        groups = Counter(tuple(row.get(name) for name in names) for row in rows)
        return [{**dict(zip(names, group)), "count": count} for group, count in groups.items()]

    def _rows(self, entity: str) -> list[Row]:
        if entity in ("nodes", "inventory"):
            return list(self._nodes.values())
        return {"reports": list(self._reports.values()), "events": self._events}.get(entity, [])

    def _test(self, condition: list[Any]) -> Test:
        operator, *operands = condition
        if operator in ("and", "or"):
            tests = [self._test(operand) for operand in operands]
            every = all if operator == "and" else any
            return lambda row: every(test(row) for test in tests)
        if operator == "not":
            test = self._test(operands[0])
            return lambda row: not test(row)
        column, wanted = operands
        if operator == "in":
            values = self._values(wanted)
            return lambda row: row.get(column) in values
        if operator == "~":
            return lambda row: bool(re.search(wanted, str(row.get(column))))
        assert operator == "=", condition
        return lambda row: bool(row.get(column) == wanted)

    def _values(self, wanted: list[Any]) -> set[Any]:
        if wanted[0] == "array":
            self.longest_array = max(self.longest_array, len(wanted[1]))
            return set(wanted[1])
        return {value for row in self.query(wanted) for value in row.values()}

    def _store(self, record: Row) -> None:
        name, run = record["certname"], record["run"]
        report = hashlib.sha1(run.encode()).hexdigest()
        now = _iso(time.time())
        columns = {
            "certname": name,
            "job_id": run,
            "hash": report,
            "status": record["verdict"],
            "end_time": _iso(record["ended"]),
            "start_time": _iso(record["started"]),
            "producer_timestamp": now,
            "receive_time": now,
            **{key: record.get(key) for key in ("noop", "noop_pending", "environment", "transaction_uuid")},
            **{key: record.get(key) for key in ("configuration_version", "cached_catalog_status")},
        }
        self._reports[run] = columns
        self._nodes[name].update(
            latest_report_status=record["verdict"],
            latest_report_job_id=run,
            latest_report_hash=report,
            latest_report_noop=record.get("noop"),
            latest_report_noop_pending=record.get("noop_pending"),
            report_timestamp=now,
        )
        for resource in record.get("resources", ()):
            self._events += [_event(name, report, resource, event) for event in resource["events"]]


def _node(node: NodeSpec) -> Row:
    return {
        "certname": node.name,
        "deactivated": None,
        "expired": None,
        "latest_report_status": "unchanged",
        "latest_report_job_id": None,
        "latest_report_hash": None,
        "latest_report_noop": False,
        "latest_report_noop_pending": False,
        "report_timestamp": _iso(time.time() - 1800),
        "catalog_timestamp": _iso(time.time() - 1800),
        "report_environment": "production",
        "cached_catalog_status": "not_used",
        "facts.networking.ip": node.address,
        "facts.cluster": f"cluster{int(node.name[4:9]) % 7}",
    }


def _event(name: str, report: str, resource: Row, event: Row) -> Row:
    kind, _, title = resource["resource"].partition("[")
    return {
        "certname": name,
        "report": report,
        "resource_type": kind,
        "resource_title": title[:-1],
        "property": event["property"],
        "status": event["status"],
        "message": event["message"],
        "old_value": "absent",
        "new_value": "file",
        "file": resource["file"],
        "line": resource["line"],
        "corrective_change": resource["corrective"],
    }


def _iso(epoch_s: float) -> str:
    milliseconds = int(epoch_s % 1 * 1000)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{milliseconds:03}Z", time.gmtime(epoch_s))
