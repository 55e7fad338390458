"""The options that several commands have, in groups: who, how, how far, where to, as whom, and servers."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime, timedelta
from typing import NamedTuple, Optional

from twitch import arguments, durations
from twitch.fleet.node.access import PORT
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.result_file import ResultFile

# What a node accepts (twitch/messages.py): an invalid value is one error here, and not one of each node.
MAX_TAGS = 50
TAG = r"[A-Za-z0-9_][A-Za-z0-9_:.-]{0,99}"
ENVIRONMENT = r"[A-Za-z0-9_]{1,64}"
LABEL = r"[A-Za-z0-9._:-]{1,40}"
REASON = r"(?! )[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]{1,200}(?<! )"

REMAINING = "remaining"  # of --only: not started, late, lost, unproven
ONLY = (*(outcome.option for outcome in Outcome), REMAINING)

NONE = "none"  # of --puppetdb and --puppetserver

# The default of --at-once: an operator who wants more runs at once from one shell says so.
AT_ONCE = 20


class Share(NamedTuple):
    """A number of nodes, or a percentage of all of them."""

    number: float
    percent: bool = False

    def of(self, total: int) -> int:
        """Return the number of nodes, rounded down: more than 5 % of 30 nodes is more than one."""
        return total * self._thousandths // 100_000 if self.percent else int(self.number)

    def at_least_one_of(self, total: int) -> int:
        """Return the number of nodes, rounded up, and at most `total`; 0 only if the share is 0."""
        number = -(-total * self._thousandths // 100_000) if self.percent else int(self.number)
        return min(total, number)

    @property
    def _thousandths(self) -> int:
        """Return thousandths of a percent: in floats, 16.1 % of 1,000 are more than 161."""
        return round(self.number * 1000)

    def __str__(self) -> str:
        """Return the share as the operator wrote it."""
        return f"{self.number:g}{'%' if self.percent else ''}"


# A parser, or a group of its options.
Group = argparse._ActionsContainer


class Parser(arguments.Parser):
    """The parser of one command of the fleet."""

    program = "puppet-twitch-fleet"


# ---- groups


def add_who(parser: argparse.ArgumentParser) -> None:
    """Add the options that name nodes."""
    who = parser.add_argument_group(
        "WHO", "at least one of the first five; several of them together name the nodes of each"
    )
    who.add_argument("node", metavar="NODE", nargs="*", default=[], help="a certname")
    who.add_argument("--nodes", metavar="FILE", help="a file with a certname on each line; -: standard input")
    who.add_argument("--query", metavar="PQL", help="the nodes of a query to PuppetDB")
    who.add_argument(
        "--from", dest="result", metavar="RESULT", type=ResultFile,
        help="the nodes of an earlier run: its --json file; -: standard input",
    )  # fmt: skip
    who.add_argument(
        "--affected-by", metavar="PATH", nargs="+",
        help="the nodes with resources from these manifests or modules; -: paths on standard input",
    )  # fmt: skip
    who.add_argument(
        "--only",
        metavar="KIND,...",
        type=kinds,
        help=f"with --from, nodes with these outcomes: {' '.join(ONLY)}",
    )
    who.add_argument(
        "--or-all", action="store_true", help="with --affected-by, all nodes if a path can affect any of them"
    )
    who.add_argument(
        "--exclude", metavar="NODE", action="append", default=[], help="not this node; can be repeated"
    )
    who.add_argument(
        "--exclude-nodes", metavar="FILE", action="append", default=[], help="not the nodes in this file"
    )
    who.add_argument(
        "--limit", metavar="N|P%", type=share, help="only so many of them: the same ones each time"
    )
    who.add_argument("--address-fact", metavar="FACT", help="connect to the value of a fact: networking.ip")


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what each node is asked for, and how many at once."""
    how = parser.add_argument_group("HOW")
    how.add_argument("--noop", action="store_true", help="only say what would change")
    how.add_argument("--tags", metavar="A,B", type=tags, default=(), help="only resources with these tags")
    how.add_argument("--environment", metavar="NAME", type=environment, help="with this environment")
    how.add_argument("--no-queue", action="store_true", help="do not wait on nodes where Puppet is running")
    how.add_argument("--label", metavar="TEXT", type=label, help="a name for the runs, such as a ticket")
    add_at_once(how, AT_ONCE, "runs")
    how.add_argument("--one-per", metavar="FACT[=N]", help="at most one (or N) at once per value of a fact")
    how.add_argument(
        "--canary",
        metavar="N|P%",
        type=share,
        default=Share(0),
        help="so many first; the rest follows if they stay within the limits (0)",
    )
    how.add_argument("--confirm", action="store_true", help="ask before the rest follows the canaries")
    how.add_argument("--seed", metavar="N", type=int, help="the order of an earlier run, which is random")
    how.add_argument("--yes", action="store_true", help="do not ask before more than 20 nodes")


def add_at_once(group: Group, default: int, what: str) -> None:
    """Add --at-once."""
    text = f"so many {what} at once ({default})"
    group.add_argument("--at-once", metavar="N|P%", type=some, default=Share(default), help=text)


def add_how_far(parser: argparse.ArgumentParser) -> None:
    """Add the options that say when to stop."""
    far = parser.add_argument_group("HOW FAR")
    far.add_argument(
        "--max-failures", metavar="N|P%", type=share, default=Share(0),
        help="start nothing more if more nodes than this newly fail; P %% of all nodes (0)",
    )  # fmt: skip
    far.add_argument(
        "--max-unreachable", metavar="N|P%", type=share, help="the same for nodes out of reach (any number)"
    )
    far.add_argument("--count-old-failures", action="store_true", help="also count nodes that failed before")
    far.add_argument(
        "--stop-on-surprise", action="store_true", help="stop if a node changes what no canary has changed"
    )
    far.add_argument(
        "--timeout",
        metavar="TIME",
        type=duration,
        default=3600,
        help="wait so long for each run, which goes on (1h)",
    )
    far.add_argument("--until", metavar="HH:MM", type=until, help="start nothing after this time")


def add_where_to(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where results go."""
    to = parser.add_argument_group("WHERE TO")
    to.add_argument("--json", metavar="FILE", help="JSON lines; -: standard output")
    to.add_argument("--junit", metavar="FILE", help="JUnit XML, for GitLab and Jenkins")
    to.add_argument("--html", metavar="FILE", help="one page for a mail or a ticket")
    to.add_argument("--remaining", metavar="FILE", help="the nodes that have to be run again, one a line")
    to.add_argument("--quiet", action="store_true", help="print only the summary")
    to.add_argument("--values", action="store_true", help="also print values, which can be secrets")


def add_as_whom(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who asks, and at which port."""
    whom = parser.add_argument_group(
        "AS WHOM",
        "by default with cert.pem, key.pem, token and ca.pem in ~/.config/puppet-twitch, else as root with"
        " the certificate of this host",
    )
    whom.add_argument("--cert", metavar="FILE", help="the certificate of the operator")
    whom.add_argument("--key", metavar="FILE", help="its private key")
    whom.add_argument("--ca", metavar="FILE", help="the certificate of Puppet's CA")
    whom.add_argument("--token-file", metavar="FILE", help="a token, alone in a file")
    whom.add_argument("--port", metavar="PORT", type=port, default=PORT, help=f"of the nodes ({PORT})")
    whom.add_argument("--plain-http", action="store_true", help="without TLS, and so without a certificate")
    whom.add_argument(
        "--clear-text-token", action="store_true", help="with --plain-http, send the token all the same"
    )


def add_servers(parser: argparse.ArgumentParser) -> None:
    """Add the options that name PuppetDB and the puppetservers."""
    servers = parser.add_argument_group("SERVERS", "by default those in the files of Puppet on this machine")
    servers.add_argument("--puppetdb", metavar="URL|none", help="PuppetDB, such as https://puppetdb:8081")
    servers.add_argument(
        "--puppetserver", metavar="URL|none", action="append",
        help="a puppetserver whose queue limits the runs at once (https://puppet:8140); can be repeated",
    )  # fmt: skip


def add_who_and_how_to_look(parser: argparse.ArgumentParser) -> None:
    """Add the options of the commands that only look at nodes, `plan` and `status`."""
    add_who(parser)
    parser.add_argument("--environment", type=environment, help="with --affected-by (production)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_as_whom(parser)
    add_servers(parser)


# ---- values; argparse prints the text of ArgumentTypeError


def share(text: str) -> Share:
    """Return a number of nodes or a percentage."""
    found = re.fullmatch(r"([0-9]{1,7})|([0-9]{1,3}(?:\.[0-9]{1,3})?)%", text)
    if not found or float(found[2] or 0) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 20, or a percentage such as 5%")
    return Share(float(found[2]), percent=True) if found[2] else Share(int(found[1]))


def some(text: str) -> Share:
    """Return a number of nodes or a percentage, of which 0 is an error."""
    found = share(text)
    if not found.number:
        raise argparse.ArgumentTypeError(f"{text!r} is none; at least 1")
    return found


def duration(text: str) -> int:
    """Return seconds."""
    found = durations.seconds(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not {durations.FORM}")
    return found


def until(text: str) -> float:
    """Return the next moment when the clocks here show this time, in epoch seconds."""
    if not re.fullmatch(r"([01]?[0-9]|2[0-3]):[0-5][0-9]", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of day such as 06:00")
    hour, minute = map(int, text.split(":"))
    now = datetime.fromtimestamp(time.time())
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


def tags(text: str) -> tuple[str, ...]:
    """Return Puppet's tags."""
    found = tuple(text.split(","))
    if len(found) > MAX_TAGS or not all(re.fullmatch(TAG, tag) for tag in found):
        form = f"up to {MAX_TAGS} tags of letters, digits and _:.- between commas"
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")
    return found


def environment(text: str) -> str:
    """Return the name of an environment."""
    if not re.fullmatch(ENVIRONMENT, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits and _")
    return text


def label(text: str) -> str:
    """Return a label."""
    if not re.fullmatch(LABEL, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 40 letters, digits and ._:-")
    return text


def reason(text: str) -> str:
    """Return why Puppet is to be disabled."""
    if not re.fullmatch(REASON, text):
        raise argparse.ArgumentTypeError("a reason is 1 to 200 characters on one line, such as a ticket")
    return text


def port(text: str) -> int:
    """Return the number of a port."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 65535")
    return int(text)


def kinds(text: str) -> tuple[str, ...]:
    """Return kinds of outcomes."""
    found = tuple(text.split(","))
    unknown: Optional[str] = next((kind for kind in found if kind not in ONLY), None)
    if unknown is not None:
        raise argparse.ArgumentTypeError(f"{unknown!r} is not one of {', '.join(ONLY)}")
    return found
