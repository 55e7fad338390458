"""Results as a site of thousands of nodes has them: a night's deployment with everything that goes wrong."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from typing import Optional

from twitch.fleet.events import Ask, Change, Counts, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import FAILURES, GOOD, UNCERTAIN, Outcome
from twitch.fleet.show.result_lines import Line
from twitch.fleet.show.results import Results

BEGAN = 1795687200.0  # 2026-11-26 10:00:00 UTC
CODE = "/etc/puppetlabs/code/environments/production"
SHARES = {"web": 0.48, "app": 0.22, "cache": 0.12, "db": 0.08, "mail": 0.05, "ci": 0.05}

COMMON = (
    Change("File[/etc/ntp.conf]", "changed", ("content",), f"{CODE}/modules/ntp/manifests/config.pp", 12),
    Change("Service[ntp]", "changed", (), f"{CODE}/modules/ntp/manifests/service.pp", 4),
    Change("Package[openssl]", "changed", ("ensure",), f"{CODE}/site/profile/manifests/base.pp", 31),
)
RARE = (
    Change("Mount[/srv/data]", "changed", ("options",), f"{CODE}/site/profile/manifests/storage.pp", 88),
    Change("User[deploy]", "changed", ("groups",), f"{CODE}/site/profile/manifests/users.pp", 17),
)
APPLIED = Change("Exec[refresh-keys]", "changed", ("returns",), f"{CODE}/modules/keys/manifests/init.pp", 9)


def names(number: int) -> list[str]:
    """Return certnames by role, such as web0001.fra.example.net, in two data centres."""
    named = []
    for role, share in SHARES.items():
        count = max(1, round(number * share))
        named += [f"{role}{n:04}.{'fra' if n % 2 else 'ams'}.example.net" for n in range(1, count + 1)]
    return named[:number]


def failure(node: str, kind: int, rng: random.Random) -> tuple[Change, str]:
    """Return the resource that failed and Puppet's message: one of three causes."""
    if kind == 0:
        message = (
            f"Could not set 'file' on ensure: No space left on device @ io_write - "
            f"/etc/app.conf.puppettmp_{rng.randrange(10**6)}"
        )
        return Change(
            "File[/etc/app.conf]", "failed", ("ensure",), f"{CODE}/modules/app/manifests/init.pp", 42, message
        ), message
    if kind == 1:
        message = (
            f"Execution of '/usr/bin/apt-get -q -y install openssl=3.0.19-1' returned 100: "
            f"E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process {rng.randrange(99999)}"
        )
        return Change(
            "Package[openssl]", "failed", ("ensure",), f"{CODE}/site/profile/manifests/base.pp", 31, message
        ), message
    message = (
        f"Could not find resource 'Class[Legacy]' in parameter 'require' "
        f"(file: {CODE}/site/role/manifests/db.pp, line: 7) on node {node}"
    )
    return Change("Service[postgresql]", "failed", ("ensure",), None, None, message), message


def lines(number: int = 10_000, *, noop: bool = False, seed: int = 1, at_once: int = 200) -> Iterator[Line]:
    """Yield the lines of a run over this many nodes: plan, events in the order of time, summary."""
    rng = random.Random(seed)
    nodes = names(number)
    failed_before = frozenset(rng.sample(nodes, max(1, number // 150)))
    order = rng.sample(nodes, len(nodes))
    yield Plan(
        time=BEGAN,
        nodes=tuple(order),
        ask=Ask(noop=noop, label="CHG-4711"),
        who='nodes[certname] { catalog_environment = "production" }',
        at_once=at_once,
        canary=5,
        max_failures=10,
        max_unreachable=None,
        seed=seed,
        puppetdb="https://puppetdb.example.net:8081",
        puppetservers=("https://puppet1.example.net:8140", "https://puppet2.example.net:8140"),
        failed_before=tuple(sorted(failed_before)),
    )
    events: list[tuple[float, int, NodeEvent]] = []
    slots = [BEGAN + 2.0] * at_once
    results: dict[str, Outcome] = {}
    for index, node in enumerate(order):
        begin = heapq.heappop(slots)
        end = begin
        for event in _of_node(node, index, begin, failed_before, rng, noop=noop):
            end = max(end, event.time) if event.event != "proven" else end
            heapq.heappush(events, (event.time, len(events) + index * 10, event))
            if event.outcome is not None:
                results[node] = event.outcome
        heapq.heappush(slots, end)
    latest = BEGAN
    while events:
        latest, _, event = heapq.heappop(events)
        yield event
    counts = {outcome: list(results.values()).count(outcome) for outcome in Outcome}
    failed = [node for node, outcome in results.items() if outcome in FAILURES]
    yield Summary(
        time=latest,
        outcomes={outcome: count for outcome, count in counts.items() if count},
        failed_new=sum(node not in failed_before for node in failed),
        failed_before=sum(node in failed_before for node in failed),
        fixed=sum(results.get(node) in GOOD for node in failed_before),
        exit=16 if any(counts[outcome] for outcome in UNCERTAIN) else 0,
    )


def _of_node(
    node: str, index: int, begin: float, failed_before: frozenset[str], rng: random.Random, *, noop: bool
) -> Iterator[NodeEvent]:
    draw = rng.random()
    canary = index < 5
    if draw < 0.004:
        error = rng.choice(("connection refused", f"no answer from 10.{rng.randrange(256)}.7.9 within 10 s"))
        yield NodeEvent(begin + 1, node, "ended", outcome=Outcome.UNREACHABLE, error=error)
        return
    if draw < 0.0085:
        why = rng.choice(("CHG-4688 kernel, by alice, until 18:00", "do not touch, by bob"))
        yield NodeEvent(begin + 0.2, node, "ended", outcome=Outcome.DISABLED, error=why)
        return
    run = f"{rng.getrandbits(128):032x}"
    begin += rng.random()
    duration = rng.lognormvariate(2.9, 0.45)
    end = begin + duration
    yield NodeEvent(begin, node, "running", run, canary=canary)
    still_failing = node in failed_before and rng.random() < 0.82
    if draw < 0.0087:
        yield NodeEvent(begin + 3600, node, "ended", run, Outcome.LATE, error="still running after 1h")
        return
    if draw < 0.0088:
        yield NodeEvent(end, node, "ended", run, Outcome.LOST, error="no answer since 10:07:12")
        return
    if still_failing or (draw < 0.0096 and not canary):
        kind = 2 if node.startswith("db") else rng.randrange(2)
        change, message = failure(node, kind, rng)
        did = "would change" if noop else "changed"
        yield NodeEvent(
            end, node, "ended", run, Outcome.FAILED, node not in failed_before, "failed",
            Counts(873, 1, 1, 3, 0), duration, f"{change.resource}: {message}",
            changes=(COMMON[0]._replace(outcome=did), change),
        )  # fmt: skip
        yield NodeEvent(end + 0.4, node, "proven", run, Outcome.FAILED, report=f"{rng.getrandbits(160):040x}")
        return
    changes = _changes(node, rng, noop=noop)
    outcome = (Outcome.PENDING if noop else Outcome.CHANGED) if changes else Outcome.UNCHANGED
    counts = Counts(873, len(changes), 0, 0, 0)
    yield NodeEvent(
        end, node, "ended", run, outcome, None, "changed" if changes else "unchanged", counts, duration,
        changes=changes, configuration_version="production-8c1f2e9",
    )  # fmt: skip
    proven = outcome if rng.random() > 0.0002 else Outcome.UNPROVEN
    report: Optional[str] = f"{rng.getrandbits(160):040x}" if proven is outcome else None
    doubt = None if report else "complete, but PuppetDB has no report of it after 60 s"
    yield NodeEvent(end + 0.4, node, "proven", run, proven, error=doubt, report=report)


def _changes(node: str, rng: random.Random, *, noop: bool) -> tuple[Change, ...]:
    if rng.random() > 0.0446:
        return ()
    changes = list(COMMON if rng.random() < 0.95 else COMMON[:2])
    if rng.random() < 0.02:
        changes.append(rng.choice(RARE))
    if rng.random() < 0.1:
        changes.append(
            Change(
                f"File[/etc/ssl/{node}.pem]",
                "changed",
                ("ensure",),
                f"{CODE}/modules/tls/manifests/init.pp",
                7,
            )
        )
    if noop:
        changes = [change._replace(outcome="would change") for change in changes]
        if rng.random() < 0.03:
            changes.append(APPLIED)
    return tuple(changes)


def results(number: int = 10_000, *, noop: bool = False, seed: int = 1) -> Results:
    """Return what these lines say."""
    made = Results()
    for line in lines(number, noop=noop, seed=seed):
        made.add(line)
    return made
