"""YAML of others: plain values, and no few lines that stand for more than memory holds."""

from __future__ import annotations

import pytest

from zetaplan._yaml import dumped, parsed
from zetaplan.errors import SpecError

LAUGHS = b"a: &a [x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (here, here, b", ".join([b"*%c" % (here - 1)] * 9)) for here in b"bcdefghijklmnop"
)


@pytest.mark.parametrize(
    "text",
    [LAUGHS, b"a: &a {b: 1}\nc: {<<: *a}", b"a: &a [*a]", b"a: [&b 1, *b]"],
    ids=["billion laughs", "merge", "itself", "scalar"],
)
def test_an_alias_is_refused(text: bytes) -> None:
    with pytest.raises(SpecError, match=r"\*\w is an alias, which is not read; write its value in its place"):
        parsed(text)


def test_an_anchor_without_an_alias_is_read() -> None:
    assert parsed(b"a: &a [1, '*a']") == {"a": [1, "*a"]}


def test_what_is_written_has_no_alias() -> None:
    """PyYAML writes an alias where one list is in a document twice."""
    shared = [1, 2]
    assert parsed(dumped({"a": shared, "b": shared})) == {"a": shared, "b": shared}
