"""What a person reads before anything starts, and after the canaries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Optional

from twitch import durations
from twitch.fleet import states
from twitch.fleet.puppetserver.forecast import forecast
from twitch.fleet.puppetserver.queue import Look, ServerQueue, jrubies
from twitch.fleet.run.job import Job
from twitch.fleet.show.brief import MAX_NOTE, brief
from twitch.fleet.show.digest import number_of
from twitch.fleet.show.results import Results
from twitch.fleet.who.choice import Chosen


def introduction(chosen: Chosen, todo: Job, looks: Sequence[Look], *, until: Optional[float] = None) -> str:
    """Return one line about what is going to happen; `until` is that of --until, in epoch seconds."""
    now = time.time()
    before = [node.before for node in todo.nodes if node.before is not None]
    failed = sum(one.failed for one in before)
    silent = sum(one.reported is not None and now - one.reported > states.SILENT_S for one in before)
    who = [f"{number_of(len(todo.nodes), 'node')} ({chosen.who})"]
    who += [f"{len(todo.kept)} done before"] if todo.kept else []
    who += [f"{failed} failed last time"] if failed else []
    who += [f"{silent} silent for a week"] if silent else []
    at_once = f"{number_of(todo.plan.at_once, 'run')} at once"
    # With the day: at 06:05, 06:00 is tomorrow.
    end = [time.strftime("until %Y-%m-%d %H:%M", time.localtime(until))] if until is not None else []
    return f"{', '.join(who)}. {'; '.join([at_once, *_servers(looks, len(todo.nodes)), *end])}."


def _servers(looks: Sequence[Look], nodes: int) -> list[str]:
    """Return what the puppetservers can do, and how long the runs take at the earliest."""
    found = forecast(looks)
    if found is None:
        return ["no puppetserver says how busy it is"] if looks else []
    waiting = sum(look.waiting for look in looks if isinstance(look, ServerQueue))
    busy = f"{waiting} waiting" if waiting else "none waiting"
    shortest_s = found.shortest_s(nodes)
    servers = f"{jrubies(found.jrubies)} on {number_of(found.servers, 'puppetserver')}, {busy}"
    return [servers, *([f"at least {durations.shown(shortest_s)}"] if shortest_s is not None else [])]


def after_canaries(results: Results, rest: int) -> str:
    """Return the question after the canaries, with what they changed."""
    canaries = [node for node in results.nodes.values() if node.canary]
    changes = sorted({change.resource for node in canaries for change in node.changes})
    outcomes = ", ".join(f"{node.name} {node.outcome.value if node.outcome else '-'}" for node in canaries)
    changed = f" They changed {brief(', '.join(changes), MAX_NOTE)}." if changes else ""
    return f"Canaries: {outcomes}.{changed} Go on with the other {number_of(rest, 'node')}?"
