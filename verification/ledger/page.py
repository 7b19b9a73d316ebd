"""The page of the documentation that shows the ledger: every fact on it has just been computed again."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from zetaplan.verification.ledger import claims
from zetaplan.verification.ledger.claim import Claim, Fact, Value, Verdict
from zetaplan.verification.proofs import proofs

OWN_TEST = "tests/verification/test_ledger.py::test_a_claim_is_as_the_ledger_says[{}]"


def ledger_page(day: str) -> str:
    """The ledger as Markdown; `day` is when it was built. Raises CertificateError if a fact is not reproduced."""
    for claim in claims().values():
        claim.check()
    count = Counter(claim.verdict for claim in claims().values())
    verdicts = ", ".join(f"{count[verdict]} {verdict.value}" for verdict in Verdict if count[verdict])
    rows = "\n".join(
        f"| [{name}](#{name.lower()}) | {claim.verdict.value} | {claim.claim} | {_short(claim)} | "
        f"[{1 + len(claim.tests)}](#{name.lower()}) | <time>{day}</time> |"
        for name, claim in claims().items()
    )
    sections = "\n\n".join(_section(name, claim) for name, claim in claims().items())
    return f"""# Claims ledger

Every claim of the paper that this project builds on, and what became of it: {verdicts}. The numbers were computed
again in fractions when this page was built, and a number that differed would have stopped the build. They come from
the declared programs; those about gains and caps come from the expressions that the proofs have checked, and the tests
named there run the measurement of gains on the same samples. "Proved" is meant as on the
[pages of the proofs](proofs/index.md), which say of every step what checked it.

| | verdict | claim of the paper | proofs | tests | last run |
|---|---|---|---|---:|---|
{rows}

{sections}
"""


def _section(name: str, claim: Claim) -> str:
    tests = ", ".join(f"`{test}`" for test in (OWN_TEST.format(name), *claim.tests))
    facts = "\n".join(f"- {_fact(fact)}" for fact in claim.facts)
    head = f"## {name}\n\n*{claim.claim}*\n\n**{claim.verdict.value.capitalize()}.** {' '.join(claim.finding.split())}"
    return f"{head}\n\n{facts}\n\nProofs: {_proofs(claim) or 'none needed beyond the numbers'}. Tests: {tests}."


def _proofs(claim: Claim) -> str:
    return ", ".join(f"[{proofs()[name].title}](proofs/{name}.md)" for name in claim.proofs)


def _short(claim: Claim) -> str:
    return ", ".join(f"[{name.replace('_', ' ')}](proofs/{name}.md)" for name in claim.proofs)


def _fact(fact: Fact) -> str:
    return f"{fact.words} **{_text(fact.expected)}**"


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return str(value) if isinstance(value, Fraction | int) else repr(value)
