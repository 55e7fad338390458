"""`/puppet/disable` and `/puppet/enable`: keep Puppet off the node for a while, with a reason and an end.

The holds are in Puppet's own lock file, which only root writes (root/holds_in_lock.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Optional

from twitch import views, wording
from twitch.listener.api import browsers
from twitch.listener.api.call import Call, Unrecorded
from twitch.listener.api.reply import Reply
from twitch.messages import DISABLED, ENABLED, HELD, INVALID, Answer, Disable, Enable, Status
from twitch.node_status import NodeStatus

# The time between two questions to root, which has to look whether a run goes on that we did not start. The
# end of a run of ours is seen at once.
LOOK_S = 2.0
ENDED_LOOK_S = 0.2


async def disable(call: Call) -> Reply:
    """Answer `POST /puppet/disable`."""
    browsers.refuse(call.request)
    call.demand("disable")
    reason, force = call.parameters.reason(), call.parameters.flag("force")
    hold_s = call.parameters.hold_s(call.config.disable_s, call.config.disable_max_s)
    wait_s = call.parameters.wait() or 0
    until = int(time.time()) + hold_s
    answer = await call.ask(Disable(call.caller.name, call.caller.address, reason, until, force))
    if answer.kind != DISABLED or answer.status is None:
        return _refused(call, answer, wording.CANNOT_DISABLE, "force=true adds a hold to that")
    text = wording.disabled_until(until, call.caller)
    fields = views.disabled_fields(answer.status, call.caller)
    goes_on = await _end_of_run(call, answer.status, wait_s)
    if goes_on is None:
        return Reply(200, text, fields)
    headers = (("Puppet-Run", goes_on), ("Location", f"/puppet/runs/{goes_on}")) if goes_on else ()
    run = {"run": goes_on} if goes_on else {}
    return Reply(202, f"{text}; a Puppet run is still under way", {**fields, **run}, headers)


async def enable(call: Call) -> Reply:
    """Answer `POST /puppet/enable`."""
    browsers.refuse(call.request)
    call.demand("disable")
    question = Enable(call.caller.name, call.caller.address, call.parameters.flag("force"))
    answer = await call.ask(question)
    if answer.kind == ENABLED:
        return Reply(200, wording.ENABLED)
    return _refused(call, answer, wording.CANNOT_ENABLE, "force=true enables it all the same")


async def _end_of_run(call: Call, status: Optional[NodeStatus], wait_s: float) -> Optional[str]:
    """Wait until no run is under way; return None then, else its id, or '' if it is not one of ours."""
    clock = asyncio.get_running_loop().time
    until = clock() + wait_s
    while status is None or status.run or status.pid:
        run = status.run if status else None
        remaining_s = until - clock()
        if remaining_s <= 0:
            return run or ""
        if run:
            with contextlib.suppress(Unrecorded):  # it has ended
                await call.finished(run, remaining_s)
        if await call.patience.pause(min(ENDED_LOOK_S if run else LOOK_S, max(0.0, until - clock()))):
            return run or ""
        status = (await call.ask(Status())).status
    return None


def _refused(call: Call, answer: Answer, sentence: str, force: str) -> Reply:
    if answer.kind == HELD:
        text = f"{wording.held(answer.status, answer.reason, call.caller)}; {force}"
        return Reply(409, text, views.disabled_fields(answer.status, call.caller), refused=True)
    if answer.kind == INVALID:  # root has read another configuration, or has another clock
        return Reply(400, f"{sentence}: {answer.reason}", refused=True)
    return Reply(500, views.why(sentence, answer.reason, call.caller), refused=True)
