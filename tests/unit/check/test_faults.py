"""Every fault has an end-to-end test that runs its fix: the table in tests/e2e/faults.py is complete."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.faults import FAULTS
from twitch import check

SOURCES = sorted(Path(check.__file__).parent.glob("*.py"))


def functions(source: Path) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(source.read_text())
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def faults(function: ast.FunctionDef) -> list[ast.Call]:
    """Return the calls Finding(FAULT, …) of a function, in their order."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and is_fault(node)]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def is_fault(call: ast.Call) -> bool:
    named = isinstance(call.func, ast.Name) and call.func.id == "Finding"
    return named and isinstance(call.args[0], ast.Name) and call.args[0].id == "FAULT"


def test_every_fault_has_a_test_that_runs_its_fix() -> None:
    made = {
        f"{source.stem}.{function.name}/{number}"
        for source in SOURCES
        for function in functions(source)
        for number, _ in enumerate(faults(function), start=1)
    }
    assert {fault.site for fault in FAULTS.values()} == made


def test_the_level_of_every_fault_is_written_where_it_is_made() -> None:
    # A level in a variable would escape the test above.
    for source in SOURCES:
        names = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Name)]
        uses = sum(name.id == "FAULT" for name in names)
        made = sum(len(faults(function)) for function in functions(source))
        allowed = {"main": 3, "findings": 1}.get(source.stem, made)
        assert uses == allowed, source


def test_a_fix_by_hand_says_so() -> None:
    # The command of a test stands for words; a fix that is a command is run as it is printed.
    by_hand = {fault.site for fault in FAULTS.values() if fault.by_hand}
    for source in SOURCES:
        for function in functions(source):
            for number, call in enumerate(faults(function), start=1):
                words = {keyword.arg for keyword in call.keywords} | {"by_hand" for _ in call.args[3:]}
                site = f"{source.stem}.{function.name}/{number}"
                assert ("by_hand" in words) == (site in by_hand) or len(call.args) > 3, site
