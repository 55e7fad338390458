"""`/puppet/runs/ID/cancel`: tell a run to stop, and wait for its end if the caller asks for that."""

from __future__ import annotations

import asyncio

from twitch import views, wording
from twitch.listener.api import browsers, ending
from twitch.listener.api.call import Call, Unrecorded
from twitch.listener.api.reply import Reply
from twitch.listener.exchange import HTTPError
from twitch.messages import CANCELLED, CURRENT, ENDED, FOREIGN, NO_RUN, Answer, Cancel, Status
from twitch.records import FINISHED, Record, outcome

# A run that is not ours has no record whose change could be seen, so root is asked for the status.
LOOK_FOREIGN_S = 1


async def cancel(call: Call) -> Reply:
    """Answer `POST /puppet/runs/ID/cancel`; ID can be `current`."""
    browsers.refuse(call.request)
    call.demand("cancel")
    wait_s, force = call.parameters.wait() or 0, call.parameters.flag("force")
    if call.run != CURRENT:  # which can be a run that is not ours, so root looks for it
        record = call.records.read(await call.find_run(), resources=False)
        if record is None:
            raise HTTPError(404, wording.NO_SUCH_RUN)
        if record.state == FINISHED:
            return _ended(call, record)
    answer = await call.ask(Cancel(call.run, call.caller.name, call.caller.address, force))
    if answer.kind == CANCELLED:
        return await (_told(call, answer.run, wait_s) if answer.run else _told_foreign(call, answer, wait_s))
    return _refused(call, answer)._replace(refused=True)


async def _told(call: Call, run: str, wait_s: float) -> Reply:
    try:
        record = await call.finished(run, wait_s)
    except Unrecorded as error:
        return ending.unrecorded(run, str(error), call.caller)
    location = ("Location", f"/puppet/runs/{run}")
    if record is None:
        return Reply(202, wording.CANCELLING, {"run": run}, (("Puppet-Run", run), location))
    text, fields = wording.cancelled(record, call.caller), views.run_fields(record, call.caller)
    if record.state == FINISHED:
        return Reply(200, text, fields, ending.run_headers(record))
    return Reply(202, text, fields, (*ending.run_headers(record), location))


async def _told_foreign(call: Call, answer: Answer, wait_s: float) -> Reply:
    pid = answer.status.pid if answer.status else None
    clock = asyncio.get_running_loop().time
    until = clock() + wait_s
    while clock() < until:
        status = (await call.ask(Status())).status
        if status and status.pid != pid:
            return Reply(200, wording.FOREIGN_ENDED)
        if await call.patience.pause(min(LOOK_FOREIGN_S, max(0, until - clock()))):
            break
    return Reply(202, wording.CANCELLING)


def _refused(call: Call, answer: Answer) -> Reply:
    if answer.kind == FOREIGN:
        fields = views.busy_fields(None, answer.status, call.caller)
        return Reply(409, wording.not_ours(answer.status, answer.reason, call.caller), fields)
    if answer.kind == NO_RUN:
        return Reply(404, wording.NONE_UNDER_WAY if call.run == CURRENT else wording.NO_SUCH_RUN)
    if answer.kind == ENDED and answer.run:
        record = call.records.read(answer.run)
        return _ended(call, record) if record else Reply(409, wording.HAS_ENDED)
    return Reply(500, views.why(wording.CANNOT_CANCEL, answer.reason, call.caller))


def _ended(call: Call, record: Record) -> Reply:
    word = outcome(record)
    text = f"{wording.HAS_ENDED}: {word}" if word else wording.HAS_ENDED
    fields, headers = views.run_fields(record, call.caller), ending.run_headers(record)
    return Reply(409, text, fields, headers, refused=True)
