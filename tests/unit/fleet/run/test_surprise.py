from __future__ import annotations

from tests.unit.loops import run
from twitch.fleet.events import Change
from twitch.fleet.nodes import Node
from twitch.fleet.outcomes import Outcome
from twitch.fleet.run.surprise import Surprise
from twitch.fleet.run.verdicts import End
from twitch.fleet.stopping import Stop


def end(*changes: str, outcome: str = "changed") -> End:
    return End(Outcome.CHANGED, changes=tuple(Change(change, outcome, ("ensure",)) for change in changes))


class Scene:
    """One canary that has changed File[/etc/motd], and what is compared with it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stop = Stop()
        self.surprise = Surprise(self.notes.append, self.stop, canaries=1)
        self.surprise.look(Node("web01.example.com"), end("File[/etc/motd]", "File[/etc/nginx/web01.conf]"))
        self.surprise.compare()


async def same_change() -> None:
    scene = Scene()
    scene.surprise.look(Node("web02.example.com"), end("File[/etc/motd]"))
    assert (scene.notes, scene.stop.reason) == ([], None)
    assert scene.surprise.summary() == (
        "The canary changed 2 things, and of 1 other node none changed anything else"
    )


def test_the_change_of_the_canary_is_no_surprise() -> None:
    run(same_change())


async def other_change() -> None:
    scene = Scene()
    for name in ("web02.example.com", "web03.example.com"):
        scene.surprise.look(Node(name), end("File[/etc/motd]", "Service[ssh]"))
    said = "web02.example.com changes Service[ssh] (ensure), which no canary has changed"
    assert scene.notes == [said]
    assert scene.stop.reason == f"--stop-on-surprise: {said}"
    assert scene.surprise.summary() == (
        "The canary changed 2 things; 2 of 2 other nodes also changed something else: "
        "Service[ssh] (ensure) (2 nodes)"
    )


def test_a_change_that_no_canary_has_shown_is_a_surprise_once() -> None:
    run(other_change())


async def own_name() -> None:
    scene = Scene()
    scene.surprise.look(Node("WEB02.example.com".lower()), end("File[/etc/nginx/web02.conf]"))
    assert scene.stop.reason is None
    scene.surprise.look(Node("web02.example.com"), end("File[/etc/nginx/web03.conf]"))
    assert scene.stop.reason is not None


def test_the_name_of_the_node_in_a_title_is_no_surprise() -> None:
    run(own_name())


async def failure() -> None:
    scene = Scene()
    scene.surprise.look(Node("web02.example.com"), end("Service[ssh]", outcome="failed"))
    assert scene.stop.reason is None


def test_a_failure_is_for_the_budget_and_no_surprise() -> None:
    run(failure())


async def no_canary() -> None:
    surprise = Surprise(lambda note: None, Stop(), canaries=0)
    surprise.compare()
    surprise.look(Node("a"), end("File[/etc/motd]"))
    assert surprise.summary() is None


def test_without_canaries_there_is_no_surprise() -> None:
    run(no_canary())
