"""How much for each layer? Capacity and sparsity plans for language models, with a proof.

    inst = zp.pruning(gains, sizes, sparsity=0.5, upper=0.8)
    sol = zp.solve(inst)
    assert zp.certify(inst, sol).valid

Names load when first used, so that `import zetaplan` does not import torch, sympy or cvxpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zetaplan.errors import (
    CertificateError,
    InfeasibleError,
    ScoringError,
    SolverError,
    SpecError,
    ZetaplanError,
)

if TYPE_CHECKING:
    from zetaplan.batch import BatchSolution, solve_batch
    from zetaplan.documents.convert import load_scores, save_scores
    from zetaplan.documents.verify import check_certificate, load_plan
    from zetaplan.drift.monitor import Monitor, Reading
    from zetaplan.drift.regret import Regret, Robust, regret, robust
    from zetaplan.evaluate.perplexity import multiple_choice, perplexity
    from zetaplan.exports import Export, export
    from zetaplan.models.adapters.lora import adapter
    from zetaplan.models.adapters.mixture import MixtureOfLoRA, mixture
    from zetaplan.models.apply import apply_pruning
    from zetaplan.models.calibrate import LossCurves, loss_curves
    from zetaplan.plans.planner import Plan, allocate, plan, prune
    from zetaplan.reports.report import write_report
    from zetaplan.scoring import Damping, Scores, load_model, read_sequences, score
    from zetaplan.solvers import solve
    from zetaplan.solvers.frontier import Frontier, frontier
    from zetaplan.solvers.rational import ExactOptimum, exact_optimum
    from zetaplan.solvers.whole.integer import IntegerSolution, solve_integer
    from zetaplan.spec.constants import Constants, constants
    from zetaplan.spec.instance import Instance
    from zetaplan.spec.programs.allocation import allocation
    from zetaplan.spec.programs.barrier_pruning import barrier_pruning
    from zetaplan.spec.programs.exponential_allocation import exponential_allocation
    from zetaplan.spec.programs.joint import joint
    from zetaplan.spec.programs.power_allocation import power_allocation
    from zetaplan.spec.programs.power_pruning import power_pruning
    from zetaplan.spec.programs.precision import precision
    from zetaplan.spec.programs.pruning import pruning
    from zetaplan.spec.solution import Solution, Status
    from zetaplan.verification.certificate import Certificate, certify
    from zetaplan.verification.exact import ExactCertificate
    from zetaplan.verification.regret.bound import RegretBound, regret_bound

__version__ = "0.1.0"

_HOME = {
    "adapter": "zetaplan.models.adapters",
    "allocate": "zetaplan.plans.planner",
    "allocation": "zetaplan.spec.programs.allocation",
    "apply_pruning": "zetaplan.models.apply",
    "barrier_pruning": "zetaplan.spec.programs.barrier_pruning",
    "BatchSolution": "zetaplan.batch",
    "Certificate": "zetaplan.verification.certificate",
    "certify": "zetaplan.verification.certificate",
    "check_certificate": "zetaplan.documents.verify",
    "Constants": "zetaplan.spec.constants",
    "constants": "zetaplan.spec.constants",
    "Damping": "zetaplan.scoring",
    "exact_optimum": "zetaplan.solvers.rational",
    "ExactCertificate": "zetaplan.verification.exact",
    "ExactOptimum": "zetaplan.solvers.rational",
    "exponential_allocation": "zetaplan.spec.programs.exponential_allocation",
    "Export": "zetaplan.exports",
    "export": "zetaplan.exports",
    "Frontier": "zetaplan.solvers.frontier",
    "frontier": "zetaplan.solvers.frontier",
    "Instance": "zetaplan.spec.instance",
    "IntegerSolution": "zetaplan.solvers.whole.integer",
    "joint": "zetaplan.spec.programs.joint",
    "load_model": "zetaplan.scoring",
    "load_plan": "zetaplan.documents.verify",
    "load_scores": "zetaplan.documents.convert",
    "loss_curves": "zetaplan.models.calibrate",
    "LossCurves": "zetaplan.models.calibrate",
    "Monitor": "zetaplan.drift.monitor",
    "Plan": "zetaplan.plans.planner",
    "mixture": "zetaplan.models.adapters",
    "MixtureOfLoRA": "zetaplan.models.adapters",
    "multiple_choice": "zetaplan.evaluate.perplexity",
    "perplexity": "zetaplan.evaluate.perplexity",
    "plan": "zetaplan.plans.planner",
    "power_allocation": "zetaplan.spec.programs.power_allocation",
    "power_pruning": "zetaplan.spec.programs.power_pruning",
    "precision": "zetaplan.spec.programs.precision",
    "prune": "zetaplan.plans.planner",
    "pruning": "zetaplan.spec.programs.pruning",
    "read_sequences": "zetaplan.scoring",
    "Reading": "zetaplan.drift.monitor",
    "Regret": "zetaplan.drift.regret",
    "regret": "zetaplan.drift.regret",
    "regret_bound": "zetaplan.verification.regret.bound",
    "RegretBound": "zetaplan.verification.regret.bound",
    "Robust": "zetaplan.drift.regret",
    "robust": "zetaplan.drift.regret",
    "save_scores": "zetaplan.documents.convert",
    "score": "zetaplan.scoring",
    "Scores": "zetaplan.scoring",
    "Solution": "zetaplan.spec.solution",
    "solve": "zetaplan.solvers",
    "solve_batch": "zetaplan.batch",
    "solve_integer": "zetaplan.solvers.whole.integer",
    "Status": "zetaplan.spec.solution",
    "write_report": "zetaplan.reports.report",
}

__all__ = [
    "BatchSolution",
    "Certificate",
    "CertificateError",
    "Constants",
    "Damping",
    "ExactCertificate",
    "ExactOptimum",
    "Export",
    "Frontier",
    "InfeasibleError",
    "Instance",
    "IntegerSolution",
    "LossCurves",
    "MixtureOfLoRA",
    "Monitor",
    "Plan",
    "Reading",
    "Regret",
    "RegretBound",
    "Robust",
    "Scores",
    "ScoringError",
    "Solution",
    "SolverError",
    "SpecError",
    "Status",
    "ZetaplanError",
    "adapter",
    "allocate",
    "allocation",
    "apply_pruning",
    "barrier_pruning",
    "certify",
    "check_certificate",
    "constants",
    "exact_optimum",
    "exponential_allocation",
    "export",
    "frontier",
    "joint",
    "load_model",
    "load_plan",
    "load_scores",
    "loss_curves",
    "mixture",
    "multiple_choice",
    "perplexity",
    "plan",
    "power_allocation",
    "power_pruning",
    "precision",
    "prune",
    "pruning",
    "read_sequences",
    "regret",
    "regret_bound",
    "robust",
    "save_scores",
    "score",
    "solve",
    "solve_batch",
    "solve_integer",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"zetaplan has no public name {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
