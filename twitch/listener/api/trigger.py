"""`/puppet/twitch`: start or queue a run, and wait for its end if the caller asks for that."""

from __future__ import annotations

from typing import Callable

from twitch import views, wording
from twitch.listener import access
from twitch.listener.api import browsers, ending, parameters
from twitch.listener.api.call import Call, Unrecorded
from twitch.listener.api.ending import RETRY_BUSY_S
from twitch.listener.api.reply import Reply
from twitch.messages import BUSY, CANNOT, COOLDOWN, DISABLED, FULL, INVALID, Answer, Run
from twitch.records import FINISHED, RUNNING


async def trigger(call: Call) -> Reply:
    """Answer `GET` and `POST /puppet/twitch`."""
    browsers.refuse(call.request)
    choices = parameters.trigger(call.parameters)
    if choices.follow:
        call.demand("logs")
    answer = await call.ask(_run_question(call, choices))
    if answer.kind not in wording.ACCEPTED or answer.run is None:
        return REFUSED[answer.kind](call, answer)._replace(refused=True)
    if choices.follow:
        from twitch.listener.api import log  # which few requests need

        return await log.of_new_run(call, answer.run)
    try:
        record = await call.finished(answer.run, choices.wait_s)
    except Unrecorded as error:
        return ending.unrecorded(answer.run, str(error), call.caller)
    if record and record.state == FINISHED:
        return ending.ended(call, record, wording.COMPLETE, waited=True)
    state = record.state if record else RUNNING
    headers = (("Puppet-Run", answer.run), ("Location", f"/puppet/runs/{answer.run}"))
    return Reply(202, wording.ACCEPTED[answer.kind], {"run": answer.run, "state": state}, headers)


def _run_question(call: Call, choices: parameters.Trigger) -> Run:
    noop, tags, environment = choices.noop, choices.tags, choices.environment
    missing = access.missing_grant(call.caller, noop=noop, tags=tags, environment=environment)
    if missing:
        raise call.forbidden(missing)
    return Run(
        caller=call.caller.name,
        client=call.caller.address,
        named=call.caller.named,
        noop=noop,
        tags=tags,
        environment=environment,
        queue=choices.queue,
        label=choices.label,
    )


# ---- replies to a request that did not become a run


def _busy(call: Call, answer: Answer) -> Reply:
    headers = (("Retry-After", str(RETRY_BUSY_S)),)
    # Read for the callers only that see anything of it: it takes a quarter of the time of a refusal.
    record = call.records.read(answer.run) if answer.run and call.caller.named else None
    text = wording.busy(answer.run, record, answer.status, call.caller)
    fields = views.busy_fields(record, answer.status, call.caller)
    if answer.run is None:
        return Reply(409, text, fields, headers)
    return Reply(409, text, {"run": answer.run, **fields}, (*headers, ("Puppet-Run", answer.run)))


def _disabled(call: Call, answer: Answer) -> Reply:
    fields = views.disabled_fields(answer.status, call.caller)
    return Reply(423, views.disabled(answer.reason, call.caller), fields)


def _cooldown(call: Call, answer: Answer) -> Reply:
    return Reply(429, wording.TOO_SOON, headers=(("Retry-After", str(answer.retry_after_s)),))


def _cannot(call: Call, answer: Answer) -> Reply:
    return Reply(500, views.why(wording.CANNOT_START, answer.reason, call.caller))


# The reply for each kind in messages.ANSWERS that is neither a run nor a status; a test compares them.
REFUSED: dict[str, Callable[[Call, Answer], Reply]] = {
    BUSY: _busy,
    FULL: _busy,
    DISABLED: _disabled,
    COOLDOWN: _cooldown,
    CANNOT: _cannot,
    INVALID: _cannot,
}
