"""Float64 truth of transformers' models, by another way than the library's: their source is rewritten.

The file of an architecture is loaded once more with every narrow type in its text replaced by float64, and a model of
its classes gets the numbers of the given one. Gradient, Gauss-Newton, Hessian and per-token Fisher are then dense
matrices out of reverse mode alone, written out from their definitions, each sequence by itself and without padding.
"""

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.abc import SourceLoader
from types import ModuleType

import torch
from flint import arb, arb_mat, ctx
from torch.func import functional_call
from transformers import PreTrainedModel

NARROW = re.compile(r"torch\.(float32|float16|bfloat16|float)\b")
CASTS = re.compile(r"\.(float|half|bfloat16)\(\)")


class _Widened(SourceLoader):
    def __init__(self, path: str) -> None:
        self._path = path

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        with open(path, encoding="utf-8") as file:
            return CASTS.sub(".double()", NARROW.sub("torch.float64", file.read())).encode()


@cache
def _wide_module(name: str) -> ModuleType:
    package, _, file = name.rpartition(".")
    loader = _Widened(str(sys.modules[name].__file__))
    spec = importlib.util.spec_from_loader(f"{package}.wide_{file}", loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def float64_constants():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def wide(model: PreTrainedModel) -> PreTrainedModel:
    """The same numbers in a model whose code knows no type but float64, with attention and experts written out."""
    config = type(model.config).from_dict(model.config.to_dict())
    config._attn_implementation = config._experts_implementation = "eager"
    twin = getattr(_wide_module(type(model).__module__), type(model).__name__)(config).double().eval()
    own = {**dict(twin.named_parameters()), **dict(twin.named_buffers())}
    given = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert own.keys() == given.keys()
    for name, value in given.items():
        own[name].data = value.detach().double()
    return twin


def dense(
    model: PreTrainedModel, names: Sequence[str], batches: Sequence[Mapping[str, torch.Tensor]], second: bool = True
) -> dict[str, torch.Tensor]:
    """The gradient (d,) and the matrices (d, d) of a wide model, in the parameters of these names."""
    parameters = [model.get_parameter(name) for name in names]
    sizes = [p.numel() for p in parameters]
    theta = torch.cat([p.detach().flatten() for p in parameters]).requires_grad_()
    rows = [row for batch in batches for row in zip(*(batch[k] for k in ("input_ids", "labels")), strict=True)]
    masks = [row for batch in batches for row in batch["attention_mask"]]
    d = len(theta)
    found = {name: torch.zeros(d, d, dtype=torch.float64) for name in ("ggn", "token_fisher", "hessian")}
    found["gradient"] = torch.zeros(d, dtype=torch.float64)
    for (ids, labels), mask in zip(rows, masks, strict=True):
        n = int(mask.sum())
        places = [t for t in range(n - 1) if labels[t + 1] != -100]
        pieces = [piece.view_as(p) for piece, p in zip(theta.split(sizes), parameters, strict=True)]
        inputs = {"input_ids": ids[None, :n], "use_cache": False}
        with float64_constants():
            z = functional_call(model, dict(zip(names, pieces, strict=True)), kwargs=inputs).logits[0, places]
            y = labels[1:][places]
            loss = -z.log_softmax(-1).gather(1, y[:, None]).mean()
            [g] = torch.autograd.grad(loss, theta, create_graph=second)
            found["gradient"] += g.detach() / len(rows)
            if second:
                found["hessian"] += torch.stack([_row(entry, theta) for entry in g]) / len(rows)
            flat = z.flatten()
            jacobian = torch.stack([_row(entry, theta) for entry in flat]).view(*z.shape, d)
        p = z.detach().softmax(-1)
        centred = jacobian - (p[..., None] * jacobian).sum(1, keepdim=True)
        scale = 1 / (len(rows) * len(places))
        found["ggn"] += scale * torch.einsum("tc,tci,tcj->ij", p, centred, centred)
        pulled = (p[..., None] * jacobian).sum(1) - jacobian[torch.arange(len(places)), y]
        found["token_fisher"] += scale * pulled.mT @ pulled
    return found


def _row(entry: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    [row] = torch.autograd.grad(entry, theta, retain_graph=True, materialize_grads=True)
    return row


def exact_gain(matrix: torch.Tensor, gradient: torch.Tensor, tau: float) -> arb:
    """g'(H + tau I)^-1 g of these doubles, in 200 bits."""
    ctx.prec = 200
    h = arb_mat([[arb(x) for x in row] for row in matrix.tolist()])
    for i in range(len(gradient)):
        h[i, i] += arb(tau)
    g = arb_mat([[arb(x)] for x in gradient.tolist()])
    return (g.transpose() * h.solve(g))[0, 0]


def holds(low: float, exact: arb, high: float) -> bool:
    """Whether low <= exact <= high for certain."""
    return bool(arb(low) <= exact) and bool(exact <= arb(high))
