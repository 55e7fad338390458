"""`/puppet/status`: what Puppet is doing; with `max_age=` an error if the node needs attention."""

from __future__ import annotations

import time
from typing import Optional

from twitch import durations
from twitch.listener.access import Caller
from twitch.listener.api import views, wording
from twitch.listener.api.call import Call
from twitch.listener.api.reply import Reply
from twitch.messages import Status
from twitch.node_status import DISABLED, STUCK, NodeStatus
from twitch.records import FAILED, GOOD


async def status(call: Call) -> Reply:
    """Answer `GET /puppet/status`."""
    call.demand("status")
    max_age_s = call.parameters.duration("max_age")  # read first: an invalid value must not wake root
    answer = await call.ask(Status())
    if answer.status is None:
        text = views.why("Puppet cannot be asked", answer.reason, call.caller)
        return Reply(500, text, refused=True)
    fields = views.status_fields(answer.status, call.caller)
    complaint = None if max_age_s is None else _complaint(answer.status, max_age_s, call.caller)
    if complaint:
        return Reply(503, complaint, fields)
    return Reply(200, wording.status_text(answer.status, call.caller), fields)


def _complaint(node: NodeStatus, max_age_s: int, caller: Caller) -> Optional[str]:
    """Return a sentence for monitoring if the node needs attention, or None."""
    last = node.last
    if node.state in (DISABLED, STUCK):
        return f"Puppet is {wording.state(node, caller)}"
    if not last or not last.ended:
        return "Puppet has not run yet"
    for run, name in ((last, "The last Puppet run"), (node.last_whole, "The last run without noop and tags")):
        if run and run.verdict not in GOOD:
            ending = "failed" if run.verdict == FAILED else f"was {run.verdict}"
            reason = f": {run.reason}" if run.reason and views.sees_reasons(caller) else ""
            return f"{name} {ending}{reason}"
    age_s = int(time.time() - last.ended)
    if age_s <= max_age_s:
        return None
    return f"The last Puppet run ended {durations.shown(age_s)} ago, more than {durations.shown(max_age_s)}"
