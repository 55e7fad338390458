from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.fleet.show.folding import fold, shorten
from twitch.fleet.who.names import expanded


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["web1"], "web1"),
        ([f"web{n:03}.example.net" for n in range(1, 481)], "web[001-480].example.net"),
        (["web1", "web2", "web3", "web7"], "web[1-3,7]"),
        (["web9", "web10", "web11"], "web[9-11]"),
        (["web099", "web100", "web101"], "web[099-101]"),
        (["web1", "web01", "web2", "web02"], "web[1-2,01-02]"),
        (["web0", "web1", "web00", "web01"], "web[0-1,00-01]"),
        (["db1", "web1", "db2"], "db[1-2],web1"),
        (["localhost", "mail"], "localhost,mail"),
        ([f"r{r}n{n}" for r in (1, 2) for n in (1, 2, 3)], "r[1-2]n[1-3]"),
        (["r1n1", "r1n2", "r2n7"], "r1n[1-2],r2n7"),
        (["web2", "web1", "web2"], "web[1-2]"),
        ([f"{n}.example.net" for n in range(3)], "[0-2].example.net"),
        ([f"web{n}" for n in (1, 10, 2)], "web[1-2,10]"),
    ],
)
def test_names_are_folded(names: list[str], folded: str) -> None:
    assert fold(names) == folded
    assert sorted(expanded([folded])) == sorted(set(names))


NAMES = st.lists(
    st.from_regex(r"(web|db|a|[0-9])[0-9]{0,4}(\.dc[0-9]{1,2})?(\.example\.net)?", fullmatch=True),
    max_size=60,
)


@given(NAMES)
def test_folded_names_can_be_pasted(names: list[str]) -> None:
    assert sorted(expanded([fold(names)])) == sorted(set(names))


@given(st.lists(st.text(max_size=20)))
def test_any_names_can_be_folded(names: list[str]) -> None:
    fold(names)


def test_a_long_list_is_shortened_and_says_how_many_are_missing() -> None:
    names = [f"web{n}.example.net" for n in range(1, 100, 2)] + ["alone.example.net"]
    assert shorten(names, width=30) == "alone.example.net and 50 more"
    assert shorten(names[-1:], width=3) == "alone.example.net"
    assert shorten(names[:-1], width=30) == "web[1,3,5,7,9,11].example.net and 44 more"
