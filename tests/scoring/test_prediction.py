"""`held_out=`: the step of every surrogate, written out with dense gradients, taken and measured by hand."""

import copy

import numpy as np
import pytest
import torch

from tests.scoring.test_score import SURROGATES, TAU, dense_gradients, random_ids
from tests.tiny_models import in_float64, tiny_gpt2, tiny_llama
from zetaplan.scoring import Damping, score, score_each

MODELS = {"llama": tiny_llama, "gpt2": tiny_gpt2}


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(request):
    return in_float64(MODELS[request.param](hidden=8, vocabulary=23))


def literal_loss(model, ids):
    """Written out in float64: the library's own loss goes through float32."""
    with torch.no_grad():
        logs = [model(input_ids=row[None]).logits[0].log_softmax(-1) for row in ids]
    return -np.mean([log[:-1].gather(1, row[1:, None]).mean() for log, row in zip(logs, ids, strict=True)])


def dense_step(curvature, gradients, tau):
    g = gradients.mean(axis=0)
    if curvature == "gradient":
        return -g
    if curvature == "diagonal-fisher":
        return -g / (np.mean(gradients**2, axis=0) + tau)
    return -np.linalg.solve(gradients.T @ gradients / len(gradients) + tau * np.eye(len(g)), g)


@pytest.mark.parametrize("curvature", SURROGATES)
def test_decrease_is_what_the_loss_does_when_the_dense_step_is_taken(model, curvature):
    ids, other = random_ids(), random_ids(seed=1)
    batch, fresh = ({"input_ids": rows} for rows in (ids, other))
    found = score(model, [batch], curvature=curvature, damping=TAU, held_out=[fresh])
    everything = dense_gradients(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    for k, block in enumerate(found.names):
        own = {name: g for name, g in everything.items() if name.startswith(f"{block}.")}
        step = dense_step(curvature, np.concatenate(list(own.values()), axis=1), TAU.value)
        moved = copy.deepcopy(model)
        pieces = np.split(step, np.cumsum([g.shape[1] for g in own.values()])[:-1])
        for name, piece in zip(own, pieces, strict=True):
            parameter = moved.get_parameter(name)
            parameter.data += torch.tensor(piece).view(parameter.shape)
        for fall, rows in ((found.decrease, ids), (found.held_out_decrease, other)):
            assert fall[k] == pytest.approx(literal_loss(model, rows) - literal_loss(moved, rows), rel=1e-6, abs=1e-9)


def test_a_heavily_damped_step_is_gradient_descent(model):
    """With tau far above H the step is -g / tau, and the loss falls by |g|^2 / tau = zeta^2 to first order."""
    batch = {"input_ids": random_ids()}
    found = score(model, [batch], damping=Damping(1e6, mode="absolute"), held_out=[batch])
    np.testing.assert_allclose(found.decrease, found.gain, rtol=1e-3)
    np.testing.assert_array_equal(found.held_out_decrease, found.decrease)


def test_the_model_comes_back_to_the_bit(model):
    before = copy.deepcopy(model.state_dict())
    batch = {"input_ids": random_ids()}
    score_each(model, [batch], curvatures=SURROGATES, held_out=[batch])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_scores_without_held_out_text_promise_nothing(model):
    found = score(model, [{"input_ids": random_ids()}])
    assert found.decrease is None
    assert found.held_out_decrease is None
