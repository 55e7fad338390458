"""Which nodes a command is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fleet import servers
from twitch.errors import UsageError
from twitch.fleet import options
from twitch.fleet.events import Ask, NodeEvent, Plan
from twitch.fleet.nodes import Before, Node
from twitch.fleet.options import Share
from twitch.fleet.outcomes import Outcome
from twitch.fleet.puppetdb.client import PuppetDB, PuppetDBError
from twitch.fleet.puppetdb.settings import Settings
from twitch.fleet.show.result_file import ResultError, ResultFile, ResultWriter
from twitch.fleet.who import choice
from twitch.fleet.who.choice import Chosen, Who, choose

MANY = tuple(f"web{number:03}" for number in range(100))


def names(chosen: Chosen) -> list[str]:
    return [node.name for node in chosen.nodes]


# ---- without PuppetDB


async def test_names_need_no_puppetdb() -> None:
    chosen = await choose(Who(nodes=("web[1-2].test", "db1")), None)
    assert chosen == Chosen([Node("web1.test"), Node("web2.test"), Node("db1")], [], "web[1-2].test db1")


async def test_a_name_that_is_there_twice_counts_once() -> None:
    chosen = await choose(Who(nodes=("web1", "web2", "web1")), None)
    assert names(chosen) == ["web1", "web2"]
    assert chosen.notes == ("Named more than once, and counted once: 1 of the nodes",)


async def test_several_options_name_the_nodes_of_all_together(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("db1\n")
    chosen = await choose(Who(nodes=("web1",), file=str(tmp_path / "nodes")), None)
    assert names(chosen) == ["web1", "db1"]
    assert chosen.who == f"web1, {tmp_path / 'nodes'}"


async def test_many_words_are_a_number() -> None:
    assert (await choose(Who(nodes=MANY), None)).who == "100 names"


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (Who(), "No nodes are named: NODE…, --nodes, --query, --from or --affected-by"),
        (Who(nodes=("web1",), only=("failed",)), "--only chooses from a result; name the file with --from"),
        (Who(query="nodes{}"), "--query needs PuppetDB, and no PuppetDB is known"),
        (Who(affected_by=("a.pp",)), "--affected-by needs PuppetDB"),
        (Who(nodes=("web1",), address_fact="networking.ip"), "The fact networking.ip needs PuppetDB"),
        (Who(nodes=("web1",), group_fact="cluster"), "The fact cluster needs PuppetDB"),
        (Who(nodes=("web1",), exclude=("web1",)), r"No nodes: all 1 are left out \(web1\)"),
    ],
)
async def test_what_cannot_be_chosen_is_an_error(who: Who, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        await choose(who, None)


NO_NAMES = ("evil.test/x?", "a@evil.test", "web1\nweb2", "\x1b[2J", "../web1", "[::1]", "", "ü", "x" * 300)


async def test_a_result_of_somebody_else_cannot_name_what_is_no_node(tmp_path: Path) -> None:
    path = tmp_path / "result.jsonl"
    writer = ResultWriter(path)
    writer.write(Plan(1.0, ("web1", *NO_NAMES), Ask(), "x", 1, 0, 0, None, 1))
    writer.close()
    chosen = await choose(Who(result=ResultFile(str(path))), None)
    assert names(chosen) == ["web1"]
    assert {why for _, why in chosen.left_out} == {"no certname"} and len(chosen.left_out) == len(NO_NAMES)
    assert chosen.notes[0].startswith(
        "Left out, because they are no certnames, 9 of the nodes: 'evil.test/x?'"
    )


async def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("# none\n")
    with pytest.raises(UsageError, match="No nodes: none is found"):
        await choose(Who(file=str(tmp_path / "nodes")), None)


async def test_nodes_are_excluded_by_name_and_by_file(tmp_path: Path) -> None:
    (tmp_path / "not").write_text("web2\nelsewhere\n")
    files = (str(tmp_path / "not"),)
    chosen = await choose(Who(nodes=("web[1-5]",), exclude=("web[4-5]", "web9"), exclude_files=files), None)
    assert names(chosen) == ["web1", "web3"]
    assert chosen.left_out == [("web2", "excluded"), ("web4", "excluded"), ("web5", "excluded")]
    assert chosen.notes == ("--exclude web9: none of the nodes has this name",)


async def test_an_excluded_name_is_never_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("web2").write_text("web1\nweb3\n")
    assert names(await choose(Who(nodes=("web[1-3]",), exclude=("web2",)), None)) == ["web1", "web3"]
    # Not a name of one of the nodes, so the file was meant: its nodes must not be run.
    for name in ("not.txt", "./not.txt"):
        Path(name).write_text("web2\n")
        with pytest.raises(UsageError, match=f"--exclude.*{name}.*: --exclude-nodes {name}"):
            await choose(Who(nodes=("web[1-3]",), exclude=(name,)), None)


@pytest.mark.parametrize(
    "who",
    [Who(file="-", exclude_files=("-",)), Who(file="-", result=ResultFile("-")), Who(affected_by=("-", "-"))],
)
async def test_standard_input_is_read_by_one_option_only(who: Who) -> None:
    with pytest.raises(UsageError, match=r"Standard input \(-\) can be read only once"):
        await choose(who, None)


async def test_a_limit_takes_the_same_nodes_each_time() -> None:
    ten = names(await choose(Who(nodes=MANY, limit=Share(10)), None))
    assert ten == names(await choose(Who(nodes=MANY[::-1], limit=Share(10)), None))[::-1]
    fifth = await choose(Who(nodes=MANY, limit=Share(20, percent=True)), None)
    assert set(ten) < set(names(fifth))
    assert len(fifth.nodes) == 20
    assert len(fifth.left_out) == 80
    assert fifth.left_out[0][1] == "beyond --limit"
    assert ten != list(MANY[:10])


# ---- results


def result(path: Path) -> str:
    writer = ResultWriter(path)
    nodes = ("ok1", "failed1", "late1", "waiting1")
    writer.write(Plan(1.0, nodes, Ask(), "nodes{}", 20, 0, 0, None, 7))
    for node, outcome in (("ok1", Outcome.CHANGED), ("failed1", Outcome.FAILED), ("late1", Outcome.LATE)):
        writer.write(NodeEvent(2.0, node, "ended", f"{node:0>32}", outcome))
    writer.close()
    return str(path)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ((), ["ok1", "failed1", "late1", "waiting1"]),
        (("failed",), ["failed1"]),
        (("remaining",), ["late1", "waiting1"]),
        (("failed", "remaining"), ["failed1", "late1", "waiting1"]),
    ],
)
async def test_the_nodes_of_a_result(tmp_path: Path, only: tuple[str, ...], expected: list[str]) -> None:
    path = result(tmp_path / "result.json")
    chosen = await choose(Who(result=ResultFile(path), only=only), None)
    assert names(chosen) == expected
    assert chosen.who == (f"{', '.join(only)} of {path}" if only else path)


async def test_a_result_without_such_nodes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No nodes: none is found"):
        await choose(Who(result=ResultFile(result(tmp_path / "result.json")), only=("unreachable",)), None)


async def test_a_file_that_is_no_result_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("web1\n")
    with pytest.raises(ResultError, match="is not a result"):
        await choose(Who(result=ResultFile(str(tmp_path / "nodes"))), None)


# ---- with PuppetDB


async def test_the_nodes_of_a_query_have_what_they_last_did() -> None:
    async with servers.simulated("web1", "bad1") as database:
        chosen = await choose(Who(query="nodes[certname] {}"), database)
    assert [(node.name, node.before and node.before.failed) for node in chosen.nodes] == [
        ("web1", False),
        ("bad1", True),
    ]
    assert chosen.who == "nodes[certname] {}"
    assert chosen.notes == ()


async def test_a_query_that_finds_nothing_is_an_error() -> None:
    async with servers.puppetdb([]) as (database, _):
        with pytest.raises(UsageError, match=r"No nodes: none is found \(nodes\[certname\] \{\}\)"):
            await choose(Who(query="nodes[certname] {}"), database)


async def test_nodes_that_puppetdb_does_not_know_are_said() -> None:
    async with servers.simulated("web1") as database:
        chosen = await choose(Who(nodes=("web1", "new[1-7]")), database)
    assert chosen.nodes[0].before == Before("changed", 1795693222.219, "production")
    assert chosen.nodes[1] == Node("new1")
    assert chosen.notes == (
        "PuppetDB does not know, or has deactivated 7 of the nodes: new1, new2, new3, new4, new5, and 2 more",
    )


async def test_named_nodes_can_be_run_while_puppetdb_is_down() -> None:
    async with PuppetDB(Settings((servers.unused_url(),), "test")) as database:
        chosen = await choose(Who(nodes=("web1",)), database)
        assert chosen.nodes == [Node("web1")]
        assert chosen.notes == (
            "It is not known which nodes failed before. "
            f"PuppetDB cannot be asked: {servers.unused_url()}: connection refused",
        )
        for who in (Who(query="nodes{}"), Who(nodes=("web1",), group_fact="cluster")):
            with pytest.raises(PuppetDBError):
                await choose(who, database)


async def test_addresses_and_groups_are_facts() -> None:
    async with servers.simulated("web1", "web2") as database:
        chosen = await choose(
            Who(nodes=("web[1-3]",), address_fact="networking.ip", group_fact="cluster"), database
        )
    assert [(node.address, node.group) for node in chosen.nodes] == [
        ("192.0.2.7", "c1"),
        ("192.0.2.7", "c2"),
        (None, None),
    ]
    assert chosen.notes[1:] == (
        "The fact networking.ip is missing, so DNS has the address, of 1 of the nodes: web3",
        "The fact cluster is missing, so --one-per does not hold back 1 of the nodes: web3",
    )


@pytest.mark.parametrize("value", [{"ip": "192.0.2.7"}, 7, "a b", ""])
async def test_a_fact_that_is_no_address_is_an_error(value: object) -> None:
    async with servers.puppetdb([{"certname": "web1", "facts.ip": value}]) as (database, _):
        with pytest.raises(UsageError, match="--address-fact ip: of web1 it is not an address"):
            await choose(Who(nodes=("web1",), address_fact="ip"), database)


async def test_a_fact_with_several_values_is_no_group() -> None:
    async with servers.puppetdb([{"certname": "web1", "facts.cluster": ["a", "b"]}]) as (database, _):
        with pytest.raises(UsageError, match="--one-per cluster: of web1 it is not a single value"):
            await choose(Who(nodes=("web1",), group_fact="cluster"), database)


# ---- the command line


def test_the_options_of_a_command_line() -> None:
    parser = options.Parser("test", "")
    options.add_who(parser)
    options.add_how(parser)
    given = parser.parse_args(
        ["--query", "nodes{}", "--exclude", "a", "--exclude", "b", "--limit", "5%", "--one-per", "cluster=2"]
    )
    assert choice.of_options(given) == Who(
        query="nodes{}", exclude=("a", "b"), limit=Share(5, percent=True), group_fact="cluster"
    )
