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
    from zetaplan.adapters.lora import adapter
    from zetaplan.adapters.mixture import MixtureOfLoRA, mixture
    from zetaplan.applying import apply_pruning
    from zetaplan.batch import BatchSolution, solve_batch
    from zetaplan.calibration import LossCurves, loss_curves
    from zetaplan.checking import check_certificate, load_plan
    from zetaplan.documents import load_scores, save_scores
    from zetaplan.evaluation import multiple_choice, perplexity
    from zetaplan.exports import Export, export
    from zetaplan.monitor import Monitor, Reading
    from zetaplan.planning import Plan, allocate, plan, prune
    from zetaplan.reports import write_report
    from zetaplan.scoring import Damping, Scores, load_model, read_sequences, score
    from zetaplan.solvers import solve
    from zetaplan.solvers.frontier import Frontier, frontier
    from zetaplan.solvers.integer import IntegerSolution, solve_integer
    from zetaplan.solvers.rational import ExactOptimum, exact_optimum
    from zetaplan.spec.allocation import allocation
    from zetaplan.spec.barrier_pruning import barrier_pruning
    from zetaplan.spec.constants import Constants, constants
    from zetaplan.spec.exponential_allocation import exponential_allocation
    from zetaplan.spec.instance import Instance
    from zetaplan.spec.joint import joint
    from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus
    from zetaplan.spec.menus.choice import Choice
    from zetaplan.spec.menus.declare import choice
    from zetaplan.spec.power_allocation import power_allocation
    from zetaplan.spec.power_pruning import power_pruning
    from zetaplan.spec.precision import precision
    from zetaplan.spec.pruning import pruning
    from zetaplan.spec.solution import Solution, Status
    from zetaplan.transfer import Regret, Robust, regret, robust
    from zetaplan.verification.certificate import Certificate, certify
    from zetaplan.verification.exact import ExactCertificate
    from zetaplan.verification.menus.proof import ChoiceCertificate
    from zetaplan.verification.regret import RegretBound, regret_bound

__version__ = "0.1.0"

_HOME = {
    "adapter": "zetaplan.adapters",
    "allocate": "zetaplan.planning",
    "allocation": "zetaplan.spec.allocation",
    "apply_pruning": "zetaplan.applying",
    "barrier_pruning": "zetaplan.spec.barrier_pruning",
    "BatchSolution": "zetaplan.batch",
    "Certificate": "zetaplan.verification.certificate",
    "certify": "zetaplan.verification.certificate",
    "check_certificate": "zetaplan.checking",
    "Choice": "zetaplan.spec.menus.choice",
    "choice": "zetaplan.spec.menus.declare",
    "ChoiceCertificate": "zetaplan.verification.menus.proof",
    "ChoiceSolution": "zetaplan.spec.menus.answer",
    "ChoiceStatus": "zetaplan.spec.menus.answer",
    "Constants": "zetaplan.spec.constants",
    "constants": "zetaplan.spec.constants",
    "Damping": "zetaplan.scoring",
    "exact_optimum": "zetaplan.solvers.rational",
    "ExactCertificate": "zetaplan.verification.exact",
    "ExactOptimum": "zetaplan.solvers.rational",
    "exponential_allocation": "zetaplan.spec.exponential_allocation",
    "Export": "zetaplan.exports",
    "export": "zetaplan.exports",
    "Frontier": "zetaplan.solvers.frontier",
    "frontier": "zetaplan.solvers.frontier",
    "Instance": "zetaplan.spec.instance",
    "IntegerSolution": "zetaplan.solvers.integer",
    "joint": "zetaplan.spec.joint",
    "load_model": "zetaplan.scoring",
    "load_plan": "zetaplan.checking",
    "load_scores": "zetaplan.documents",
    "loss_curves": "zetaplan.calibration",
    "LossCurves": "zetaplan.calibration",
    "Monitor": "zetaplan.monitor",
    "Plan": "zetaplan.planning",
    "mixture": "zetaplan.adapters",
    "MixtureOfLoRA": "zetaplan.adapters",
    "multiple_choice": "zetaplan.evaluation",
    "perplexity": "zetaplan.evaluation",
    "plan": "zetaplan.planning",
    "power_allocation": "zetaplan.spec.power_allocation",
    "power_pruning": "zetaplan.spec.power_pruning",
    "precision": "zetaplan.spec.precision",
    "prune": "zetaplan.planning",
    "pruning": "zetaplan.spec.pruning",
    "read_sequences": "zetaplan.scoring",
    "Reading": "zetaplan.monitor",
    "Regret": "zetaplan.transfer",
    "regret": "zetaplan.transfer",
    "regret_bound": "zetaplan.verification.regret",
    "RegretBound": "zetaplan.verification.regret",
    "Robust": "zetaplan.transfer",
    "robust": "zetaplan.transfer",
    "save_scores": "zetaplan.documents",
    "score": "zetaplan.scoring",
    "Scores": "zetaplan.scoring",
    "Solution": "zetaplan.spec.solution",
    "solve": "zetaplan.solvers",
    "solve_batch": "zetaplan.batch",
    "solve_integer": "zetaplan.solvers.integer",
    "Status": "zetaplan.spec.solution",
    "write_report": "zetaplan.reports",
}

__all__ = [
    "BatchSolution",
    "Certificate",
    "CertificateError",
    "Choice",
    "ChoiceCertificate",
    "ChoiceSolution",
    "ChoiceStatus",
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
    "choice",
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
