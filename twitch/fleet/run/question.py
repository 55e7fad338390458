"""What is said, and asked, before anything starts; and after the canaries."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from twitch.fleet.nodes import Node

MANY = 20  # nodes; on a terminal, more of them are asked about
SILENT_S = 7 * 86400
YES = frozenset({"y", "yes"})


def introduction(nodes: Sequence[Node], who: str, at_once: int) -> str:
    """Return one line about what is going to happen."""
    now = time.time()
    before = [node.before for node in nodes if node.before is not None]
    failed = sum(one.failed for one in before)
    silent = sum(one.reported is not None and now - one.reported > SILENT_S for one in before)
    parts = [f"{len(nodes)} node{'s' if len(nodes) != 1 else ''} ({who})"]
    parts += [f"{failed} failed last time"] if failed else []
    parts += [f"{silent} silent for a week"] if silent else []
    return f"{', '.join(parts)}. {at_once} run{'s' if at_once != 1 else ''} at once."


def must_ask(nodes: Sequence[Node], *, yes: bool) -> bool:
    """Whether a person has to agree: more than MANY nodes, and there is a terminal to ask at."""
    return not yes and len(nodes) > MANY and at_a_terminal()


def at_a_terminal() -> bool:
    """Whether a question can be asked, and answered."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Ask a question on standard error; return whether the answer is yes. Ctrl-C and the end mean no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        return sys.stdin.readline().strip().lower() in YES
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return False
