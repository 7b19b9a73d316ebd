"""The documentation page of the ledger, whose facts are recomputed when the page is built."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from zetaplan.verification.ledger import claims, titles
from zetaplan.verification.ledger.claim import Claim, Fact, Value, Verdict
from zetaplan.verification.proofs import proofs

OWN_TEST = "tests/verification/test_ledger.py::test_a_claim_is_as_the_ledger_says[{}]"


def ledger_page(day: str) -> str:
    """The ledger as Markdown. day : date of the build. Raises CertificateError if a fact is not reproduced."""
    for claim in claims().values():
        claim.check()
    count = Counter(claim.verdict for claim in claims().values())
    verdicts = ", ".join(f"{count[verdict]} {verdict.value}" for verdict in Verdict if count[verdict])
    rows = "\n".join(
        f"| [{name}](#{name.lower()}) | {_badge(claim)} | {claim.claim} | {_short(claim)} | "
        f"[{1 + len(claim.tests)}](#{name.lower()}) | <time>{day}</time> |"
        for name, claim in claims().items()
    )
    sections = "\n\n".join(_section(name, claim) for name, claim in claims().items())
    return f"""# Claims ledger

This page lists every claim of the paper that this project uses, with its verdict: {verdicts}. The numbers are
recomputed in fractions whenever this page is built, and a number that differs stops the build. Numbers about programs
come from the declarations. Numbers about gains and caps come from the expressions that the proofs check; the tests
named there measure the gains of the same samples. A claim is "proved" if every step has the check that the [pages of
the proofs](proofs/index.md) name.

| | verdict | claim of the paper | proofs | tests | last run |
|---|---|---|---|---:|---|
{rows}

{sections}
"""


def _section(name: str, claim: Claim) -> str:
    tests = ", ".join(f"`{test}`" for test in (OWN_TEST.format(name), *claim.tests))
    facts = "\n".join(f"- {_fact(fact)}" for fact in claim.facts)
    title = f"## {name}: {titles()[name]} {{#{name.lower()}}}"
    head = f"{title}\n\n*{claim.claim}*\n\n{_badge(claim)} {' '.join(claim.finding.split())}"
    return f"{head}\n\n{facts}\n\nProofs: {_proofs(claim) or 'none beyond the numbers'}. Tests: {tests}."


def _badge(claim: Claim) -> str:
    return f'<span class="verdict {claim.verdict.name.lower()}">{claim.verdict.value}</span>'


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
