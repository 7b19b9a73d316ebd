"""Audit of ten million planted instances: `python -m benchmarks.audit_scale`, in parts, each in a file of its own.

Rows of allocation and pruning go through the batch solver and its certificates, menus through the exact choice solver
and its proof. A sample of the certificates of rows, and every proof of a menu, goes through the checker in Python and,
where `make checker` has built it, through the proved one; of each a forgery is made that both must refuse.
A part depends on the seed and its number alone; a part whose file is there is not run again. The parts that are there
are added up: results/audit_scale.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, environment, save
from zetaplan._files import write
from zetaplan.solvers.menus import solve_choice
from zetaplan.spec.instance import declare
from zetaplan.spec.solution import Solution, Status
from zetaplan.verification import checker
from zetaplan.verification.audit.forgeries import CERTIFICATES, CHOICES, Document, Forge
from zetaplan.verification.audit.planted_menus import FAMILIES, plant_menu
from zetaplan.verification.audit.planted_rows import Rows, plant_rows
from zetaplan.verification.audit.rows import forge_rows, judge_rows, solve_rows
from zetaplan.verification.exact import certify_exactly
from zetaplan.verification.formal import proved
from zetaplan.verification.menus import checker as choice_checker
from zetaplan.verification.menus.proof import certify_choice

SEED = 2026
ROW_PARTS, ROWS, ROWS_OF_ALL_KINDS = 944, 12_000, 1_000
MENU_PARTS, MENUS = 80, 250
SAMPLE, FORGED = 20, 2_000  # rows of a part with a certificate in fractions, and with forged claims in doubles
PARTS = ROOT / "build" / "audit_scale"
Counts = dict[str, Any]


def row_part(part: int) -> Counts:
    """Rows of one program and number of layers."""
    rows = plant_rows(SEED, part, ROWS_OF_ALL_KINDS if part // 2 % 8 == 7 else ROWS)
    start = time.process_time()
    found = solve_rows(rows)
    seconds = time.process_time() - start
    tally, off = judge_rows(rows, found)
    documents = [_certificate(rows, found, row) for row in range(SAMPLE)]
    honest = [document for document in documents if document is not None]
    return vars(tally) | {
        "forged": forge_rows(rows, found, FORGED),
        "failures": [f"part {part}, row {row}" for row in off.nonzero()[0][:5].tolist()],
        "seconds": {"solve and certify rows": seconds},
        "certificates": {"no proof": SAMPLE - len(honest)}
        | check_both(honest, CERTIFICATES, checker.check_certificate, part),
    }


def _certificate(rows: Rows, found: Any, row: int) -> Document | None:
    instance = declare(
        rows.program,
        rows.quality[row],
        (rows.unit_cost[row],),
        float(rows.limit[row]),
        (rows.lower[row],),
        (rows.upper[row],),
        rows.knobs,
    )
    claim = Solution(instance, found.x[row].numpy(), float(found.multiplier[row]), Status.BINDING)
    certificate = certify_exactly(instance, claim)
    return certificate.document if certificate.valid else None


def menu_part(part: int) -> Counts:
    """Menus of every family in turn."""
    events: Counter[str] = Counter()
    families: Counter[str] = Counter()
    failures, documents, seconds = [], [], 0.0
    for index in range(part * MENUS, (part + 1) * MENUS):
        planted = plant_menu(SEED, index)
        start = time.process_time()
        solution = solve_choice(planted.instance, time_limit=60.0)
        certificate = certify_choice(planted.instance, solution)
        seconds += time.process_time() - start
        losses = planted.instance.losses[planted.instance.rows(solution.choice)].tolist()
        wrong = sum(map(Fraction, losses), Fraction(0)) != planted.objective
        families[planted.family] += 1
        events.update({"planted": 1, "not certified": not certificate.optimal, "wrong": wrong and certificate.optimal})
        failures += [f"menu {index}: {planted.family}"] if wrong else []
        documents += [certificate.document] if certificate.optimal else []
    return {
        "menus": events,
        "families": families,
        "failures": failures,
        "seconds": {"solve and certify menus": seconds},
        "proofs": check_both(documents, CHOICES, choice_checker.check_certificate, part),
    }


def check_both(honest: list[Document], classes: dict[str, Forge], check: Any, first: int) -> Counts:
    """Honest documents and one forgery of each through both checkers, from files: counts and seconds."""
    names = list(classes)
    forged = []
    for document, start in zip(honest, cycle(range(first, first + len(names))), strict=False):
        order = [names[(start + step) % len(names)] for step in range(len(names))]
        made = ((name, classes[name](document)) for name in order)
        forged.append(next((name, forgery) for name, forgery in made if forgery is not None))
    texts = [json.dumps(document) for document in (*honest, *(forgery for _, forgery in forged))]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.json") for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        answers = {"python": _python(paths, check), "proved": _proved(paths)}
    counts: Counts = {"honest": len(honest), "forged": Counter(name for name, _ in forged)}
    for name, (accepted, seconds) in answers.items():
        right, wrong = accepted[: len(honest)], accepted[len(honest) :]
        missed = Counter(kind for (kind, _), bad in zip(forged, wrong, strict=False) if bad)
        counts[name] = {"documents": len(accepted), "refused honest": right.count(False), "accepted forged": missed}
        counts[name]["seconds"] = seconds
    return counts


def _python(paths: list[Path], check: Any) -> tuple[list[bool], float]:
    start = time.process_time()
    return [_accepts(check, path) for path in paths], time.process_time() - start


def _accepts(check: Any, path: Path) -> bool:
    try:
        check(path)
    except ValueError:  # both checkers' CertificateError
        return False
    return True


def _proved(paths: list[Path]) -> tuple[list[bool], float]:
    """What the proved checker says of every file, and its processor time; nothing where it is not built."""
    if not (paths and proved.BUILT.is_file()):
        return [], 0.0
    before = _children()
    done = subprocess.run([proved.BUILT, *paths], capture_output=True, text=True, check=False)  # noqa: S603 our own
    lines = done.stdout.splitlines() if len(paths) > 1 else [done.stdout]
    if len(lines) != len(paths):
        raise RuntimeError(f"the proved checker gave {len(lines)} verdicts on {len(paths)} files: {done.stderr[:300]}")
    return [line.startswith("valid") for line in lines], _children() - before


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tasks() -> list[tuple[str, int]]:
    """All parts, rows and menus in turn, so that an audit that is stopped early has some of both."""
    rows = [("rows", part) for part in range(ROW_PARTS)]
    menus = [("menus", part) for part in range(MENU_PARTS)]
    return sorted(rows + menus, key=lambda task: (task[1] / {"rows": ROW_PARTS, "menus": MENU_PARTS}[task[0]], task))


def file_of(task: tuple[str, int]) -> Path:
    return PARTS / f"{task[0]}-{task[1]:04d}.json"


def run_part(task: tuple[str, int]) -> tuple[str, int]:
    kind, part = task
    PARTS.mkdir(parents=True, exist_ok=True)
    write(file_of(task), json.dumps({"rows": row_part, "menus": menu_part}[kind](part)))
    return task


def added(one: Any, other: Any) -> Any:
    """Counts and seconds add up, lists follow one another, mappings are joined key by key."""
    if not isinstance(one, dict):
        return one + other
    shared = {key: added(one[key], other[key]) for key in one if key in other}
    return one | other | shared


def total(parts: Iterator[Counts]) -> Counts:
    """The sum of all parts; errors are maxima."""
    whole: Counts = {}
    worst: dict[str, float] = {}
    for part in parts:
        for name, value in part.pop("worst", {}).items():
            worst[name] = max(value, worst.get(name, 0.0))
        whole = added(whole, part)
    return whole | {"worst": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this time; run again to go on")
    options = parser.parse_args()
    missing = [task for task in tasks() if not file_of(task).exists()]
    deadline = time.monotonic() + 60.0 * options.minutes
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for done in pool.imap_unordered(run_part, missing):
            if time.monotonic() > deadline:
                pool.terminate()
                print(f"stopped after {done}; run again to go on")
                break
    finished = [task for task in tasks() if file_of(task).exists()]
    result = total(json.loads(file_of(task).read_text()) for task in finished)
    settings = {"seed": SEED, "parts": len(finished), "of parts": len(tasks()), "families": list(FAMILIES)}
    save("audit_scale", {"settings": settings, "machine": environment("numpy", "torch", "python-flint"), **result})
    print(json.dumps(settings), json.dumps(result["rows"]), json.dumps(result["menus"]), result["failures"][:5])


if __name__ == "__main__":
    main()
