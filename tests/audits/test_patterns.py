"""Patterns of strangers: bounded in time and memory, with one line for what is refused."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import pytest

from zetaplan.audits import foreign
from zetaplan.audits.foreign import Setting, setting
from zetaplan.audits.patterns import compiled
from zetaplan.errors import SpecError

NAME = "blk.17.ffn_gate_exps.weight" * 4


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[", "no regular expression"),
        ("a" * 5000, "the pattern has 5000 characters"),
        ("a{99999999}", "multiply to more than 1000"),
        ("((a{1,100}){1,100}){2}", "multiply to more than 1000"),
        ("a{" + "9" * 4000 + "}", "multiply to more than 1000"),
        ("(?R)", "groups other than"),
        ("(?i)a", "groups other than"),
        ("(?<name>a)", "groups other than"),
        ("(?>a)", "groups other than"),
        ("(*SKIP)", "groups other than"),
        ("a{e<=3}", "a brace that is no count"),
        ("(" * 1500 + ")" * 1500, "too deeply nested"),
    ],
)
def test_what_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)) as caught:
        compiled(pattern, pattern)
    assert len(str(caught.value)) < 300


HOSTILE = [
    r"(a+)+$", r"(.*)*x", r"(?:.|.)*~", r".*.*.*.*.*.*.*.*.*.*~", r"(\w*\.?)*~", r"(.?){30}.{30}~",
    r"((.*)(.*)(.*)(.*)(.*)(.*))+~", r"(?:(?:[a-z_.0-9]+)+)+~", r"(.+)(.+)(.+)\1\2\3~",
    r"(x+x+)+y\1", r"(x+)+[yz]\1", r"(?:x|x)*[yz]", r"(x*)*(x*)*(x*)*[^x]$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_pattern_hangs(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MATCHING", 1.0)
    entry, start = setting("key", "q4_0", "search", pattern), time.process_time()
    with suppress(SpecError):
        for _ in range(300):
            entry.hits(NAME)
            entry.hits("x" * 3000)
    assert time.process_time() - start < 5.0


def test_the_rules_are_those_of_re() -> None:
    for pattern in ("b", "^b", "k$", "blk", r"\d", "l|x", r"(?!a)b", r"k(?=$)"):
        for rule in ("match", "search"):
            entry = Setting("key", 0.0, pattern, "q4_0", rule)
            assert entry.hits("blk") == (getattr(re, rule)(pattern, "blk") is not None)
    assert Setting("key", 0.0, "b.k", "q4_0").hits("b.k")
    assert not Setting("key", 0.0, "b.k", "q4_0").hits("blk")


def test_the_time_of_all_names_together_is_bounded() -> None:
    """The time is over before the first name, so the matcher stops at its next look at the clock."""
    late = Setting("key", 0.0, r"(x+x+)+y\1", "q4_0", "search", until=time.process_time() - 1.0)
    with pytest.raises(SpecError, match="'key' takes more than 30 seconds to compare with the names; simplify"):
        late.hits("x" * 3000)
