"""The result as JUnit's XML, which GitLab and Jenkins read: one test case for each node.

There is no standard. This is what both read: the schema of Jenkins' xUnit plugin, and GitLab's page "Unit
test reports". GitLab refuses files with more than 500,000 cases or 250,000 objects.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from twitch.fleet.outcomes import FAILURES, GOOD, UNCERTAIN, Outcome
from twitch.fleet.show import digest, ticket
from twitch.fleet.show.results import NodeResult, Results
from twitch.texts import one_line

# Up to so many nodes have a case each; beyond, only those that are not good, and one case for all others.
MAX_CASES = 20_000

SUITE = "puppet-twitch-fleet"

# What XML 1.0 has no character for (section 2.2), after control characters are escaped.
NOT_XML = re.compile("[\ufffe\uffff]")

PASSED, FAILURE, ERROR, SKIPPED = "passed", "failure", "error", "skipped"


def junit_of(results: Results) -> str:
    """Return the XML.

    A failure is a node that newly failed, or of which it is not known whether it had failed before. A node
    that fails as before is skipped, as a test that is expected to fail: it is no news of this run; with
    --count-old-failures it is a failure. What is unreachable, late, lost or unproven is an error.
    """
    counts_old = results.plan is not None and results.plan.count_old_failures
    few = len(results.nodes) <= MAX_CASES
    nodes = [node for node in results.nodes.values() if few or node.outcome not in GOOD]
    kinds = [_kind(node, counts_old=counts_old) for node in nodes]
    cases = [*map(_case, nodes, kinds), *([] if few else [_others(len(results.nodes) - len(nodes))])]
    numbers = (
        f'tests="{len(cases)}" failures="{kinds.count(FAILURE)}" errors="{kinds.count(ERROR)}" '
        f'skipped="{kinds.count(SKIPPED)}"'
    )
    took = max(0.0, (results.latest or 0) - (results.began or 0))
    began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(results.began))
    return "\n".join(
        (
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites {numbers} time="{took:.3f}">',
            f'<testsuite name={_attribute(_name(results))} {numbers} time="{took:.3f}" timestamp="{began}">',
            *cases,
            f"<system-out>{_text(ticket.paragraph(results))}</system-out>",
            "</testsuite>",
            "</testsuites>\n",
        )
    )


def _name(results: Results) -> str:
    label = results.plan.ask.label if results.plan else None
    return f"{SUITE} {label}" if label else SUITE


def _kind(node: NodeResult, *, counts_old: bool) -> str:
    outcome = node.outcome
    if outcome in GOOD:
        return PASSED
    if outcome in FAILURES:
        return SKIPPED if node.new is False and not counts_old else FAILURE
    if outcome in UNCERTAIN or outcome is Outcome.UNREACHABLE or outcome is None:
        return ERROR
    return SKIPPED  # disabled, not started


def _case(node: NodeResult, kind: str) -> str:
    took_s = max(0.0, node.duration_s or 0)
    start = f'<testcase classname="{SUITE}" name={_attribute(node.name)} time="{took_s:.3f}"'
    if kind == PASSED:
        return f"{start}/>"
    outcome = node.outcome.value if node.outcome else "no end"
    before = " as before" if node.new is False else ""
    message = _attribute(f"{outcome}{before}{f': {node.error}' if node.error else ''}")
    if kind == SKIPPED:
        return f"{start}><skipped message={message}/></testcase>"
    return (
        f"{start}><{kind} type={_attribute(outcome)} message={message}>{_details(node)}</{kind}></testcase>"
    )


def _details(node: NodeResult) -> str:
    return "\n".join(_text(line) for line in _lines(node))


def _lines(node: NodeResult) -> Iterator[str]:
    if node.error:
        yield node.error
    for change in node.changes:
        if change.outcome.startswith("failed"):
            place = f" ({change.file}:{change.line})" if change.file else ""
            yield f"{change.resource}{place}: {change.message or change.outcome}"
    if node.run:
        yield f"run {node.run}"


def _others(number: int) -> str:
    name = _attribute(f"{digest.number_of(number, 'other node')}, all good")
    return f'<testcase classname="{SUITE}" name={name} time="0"/>'


def _text(text: str) -> str:
    return escape(NOT_XML.sub("?", one_line(text)))


def _attribute(text: str) -> str:
    return quoteattr(NOT_XML.sub("?", one_line(text)))
