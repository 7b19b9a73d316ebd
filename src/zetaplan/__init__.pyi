"""The public names and the modules that define them; `zetaplan/__init__.py` loads each when it is first used."""

from .batch import BatchSolution as BatchSolution
from .batch import solve_batch as solve_batch
from .bits.quantize import quantize as quantize
from .documents.certificate import check_certificate as check_certificate
from .documents.choices import load_choice as load_choice
from .documents.choices import load_menu as load_menu
from .documents.choices import save_choice as save_choice
from .documents.choices import save_menu as save_menu
from .documents.convert import load_scores as load_scores
from .documents.convert import plan_document as plan_document
from .documents.convert import save_plan as save_plan
from .documents.convert import save_scores as save_scores
from .documents.verify import load_plan as load_plan
from .drift.monitor import Monitor as Monitor
from .drift.monitor import Reading as Reading
from .drift.regret import Regret as Regret
from .drift.regret import Robust as Robust
from .drift.regret import regret as regret
from .drift.regret import robust as robust
from .errors import CertificateError as CertificateError
from .errors import InfeasibleError as InfeasibleError
from .errors import ScoringError as ScoringError
from .errors import SolverError as SolverError
from .errors import SpecError as SpecError
from .errors import ZetaplanError as ZetaplanError
from .evaluate.choices import multiple_choice as multiple_choice
from .evaluate.divergence import divergence as divergence
from .evaluate.perplexity import perplexity as perplexity
from .exports import Export as Export
from .exports import export as export
from .measuring.measure import measure as measure
from .menus.menu import Menu as Menu
from .menus.plan import ChoicePlan as ChoicePlan
from .menus.planner import choose as choose
from .models.adapters import MixtureOfLoRA as MixtureOfLoRA
from .models.adapters import adapter as adapter
from .models.adapters import mixture as mixture
from .models.apply import apply_pruning as apply_pruning
from .models.calibrate import LossCurves as LossCurves
from .models.calibrate import loss_curves as loss_curves
from .models.whole_plans import calibrated as calibrated
from .plans.plan import Plan as Plan
from .plans.planner import allocate as allocate
from .plans.planner import plan as plan
from .plans.planner import prune as prune
from .refining.menu import measure_levels as measure_levels
from .refining.refine import refine as refine
from .reports.report import write_report as write_report
from .scoring import Damping as Damping
from .scoring import Scores as Scores
from .scoring import load_model as load_model
from .scoring import read_sequences as read_sequences
from .scoring import score as score
from .solvers import solve as solve
from .solvers.frontier import Frontier as Frontier
from .solvers.frontier import frontier as frontier
from .solvers.menus.robust import RobustChoice as RobustChoice
from .solvers.rational import ExactOptimum as ExactOptimum
from .solvers.rational import exact_optimum as exact_optimum
from .solvers.whole.integer import IntegerSolution as IntegerSolution
from .solvers.whole.integer import solve_integer as solve_integer
from .spec.constants import Constants as Constants
from .spec.constants import constants as constants
from .spec.instance import Instance as Instance
from .spec.menus.answer import ChoiceSolution as ChoiceSolution
from .spec.menus.answer import ChoiceStatus as ChoiceStatus
from .spec.menus.choice import Choice as Choice
from .spec.menus.declare import choice as choice
from .spec.programs.allocation import allocation as allocation
from .spec.programs.barrier_pruning import barrier_pruning as barrier_pruning
from .spec.programs.exponential_allocation import exponential_allocation as exponential_allocation
from .spec.programs.joint import joint as joint
from .spec.programs.power_allocation import power_allocation as power_allocation
from .spec.programs.power_pruning import power_pruning as power_pruning
from .spec.programs.precision import precision as precision
from .spec.programs.pruning import pruning as pruning
from .spec.solution import Solution as Solution
from .spec.solution import Status as Status
from .verification.certificate import Certificate as Certificate
from .verification.certificate import certify as certify
from .verification.exact import ExactCertificate as ExactCertificate
from .verification.menus.proof import ChoiceCertificate as ChoiceCertificate
from .verification.regret.bound import RegretBound as RegretBound
from .verification.regret.bound import regret_bound as regret_bound

__version__: str

__all__ = [
    "BatchSolution",
    "Certificate",
    "CertificateError",
    "Choice",
    "ChoiceCertificate",
    "ChoicePlan",
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
    "Menu",
    "MixtureOfLoRA",
    "Monitor",
    "Plan",
    "Reading",
    "Regret",
    "RegretBound",
    "Robust",
    "RobustChoice",
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
    "calibrated",
    "certify",
    "check_certificate",
    "choice",
    "choose",
    "constants",
    "divergence",
    "exact_optimum",
    "exponential_allocation",
    "export",
    "frontier",
    "joint",
    "load_choice",
    "load_menu",
    "load_model",
    "load_plan",
    "load_scores",
    "loss_curves",
    "measure",
    "measure_levels",
    "mixture",
    "multiple_choice",
    "perplexity",
    "plan",
    "plan_document",
    "power_allocation",
    "power_pruning",
    "precision",
    "prune",
    "pruning",
    "quantize",
    "read_sequences",
    "refine",
    "regret",
    "regret_bound",
    "robust",
    "save_choice",
    "save_menu",
    "save_plan",
    "save_scores",
    "score",
    "solve",
    "solve_batch",
    "solve_integer",
    "write_report",
]
