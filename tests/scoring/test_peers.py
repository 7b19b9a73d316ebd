"""The peers against published tables, planted truths and laws."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.ablation import ablation_scores
from zetaplan.scoring.peers.alphalora import alphalora_experts
from zetaplan.scoring.peers.alphapruning import alphapruning_sparsity
from zetaplan.scoring.peers.avss import avss_scores
from zetaplan.scoring.peers.ecoflap import ecoflap_score
from zetaplan.scoring.peers.farms import farms_alpha
from zetaplan.scoring.peers.htsr import htsr_alpha, tail_exponent
from zetaplan.scoring.peers.layerif import (
    layerif_experts,
    layerif_experts_rounded,
    layerif_influences,
    layerif_score,
    layerif_smoothed,
    layerif_sparsity,
)
from zetaplan.scoring.peers.lim import lim_score
from zetaplan.scoring.peers.mola import mola_experts
from zetaplan.scoring.peers.owl import owl_outliers, owl_sparsity
from zetaplan.scoring.peers.zd import zd_score

LLAMA_SIZES = np.tile([4096 * 4096] * 4 + [4096 * 11008] * 3, 32)
MISTRAL_SIZES = np.tile([4096 * 4096, 4096 * 1024, 4096 * 1024, 4096 * 4096] + [4096 * 14336] * 3, 32)
# Whole tenths: equal scores are equal in floating point too, so the laws hold without ties broken by rounding.
SCORES = st.lists(st.integers(-50, 50), min_size=2, max_size=12, unique=True).map(lambda s: np.array(s) / 10)


@pytest.fixture(scope="module")
def tables(shared_data):
    return shared_data / "layer_tables"


@pytest.fixture(scope="module")
def ratio_lists(tables):
    lists = json.loads((tables / "published_ratio_lists.json").read_text())
    return {entry["cell"]: entry for entry in lists}


@pytest.fixture(scope="module")
def experts(tables):
    return json.loads((tables / "expert_allocations.json").read_text())


def assert_reproduced(entry, sparsity):
    assert np.abs(sparsity - entry["ratios_per_linear_layer"]).max() < 1e-7


@pytest.mark.parametrize(("cell", "file"), [(5, "IF-300-96.npy"), (13, "IF-300-96-smoothed.npy")])
def test_layerif_sparsity_is_the_published_one(tables, ratio_lists, cell, file):
    entry, scores = ratio_lists[cell], np.load(tables / "mistral-7b" / file)
    assert_reproduced(entry, layerif_sparsity(scores, MISTRAL_SIZES, entry["sparsity"], epsilon=entry["epsilon"]))


def test_alphapruning_sparsity_is_the_published_one(tables, ratio_lists):
    entry = ratio_lists[4]
    alpha = np.load(tables / "llama2-7b" / "alpha_peak.npy").reshape(32, 7).mean(axis=1).repeat(7)
    assert_reproduced(entry, alphapruning_sparsity(alpha, LLAMA_SIZES, entry["sparsity"], epsilon=entry["epsilon"]))


def test_layerif_smoothing_is_the_published_one(tables):
    raw, smoothed = (np.load(tables / "mistral-7b" / f"IF-300-96{end}.npy")[::7] for end in ("", "-smoothed"))
    assert np.abs(layerif_smoothed(raw) - smoothed).max() < 1e-4


@pytest.mark.parametrize("sparsity", [0.2, 0.3, 0.4, 0.5])
def test_owl_sparsity_is_the_published_one(tables, sparsity):
    """The outlier shares were not published; the plan is affine in them, so any affine image of it serves as D."""
    text = (tables / "mistral-7b" / f"OWL_prune_ratio_mistral_{sparsity}.txt").read_text()
    published = np.array(json.loads(text))[::7]
    plan = owl_sparsity(7 - 3 * published, sparsity)
    assert np.abs(plan - published).max() < 1e-12
    assert plan.mean() == pytest.approx(sparsity, abs=1e-12)
    assert np.ptp(plan) == pytest.approx(0.16, abs=1e-12)


def test_alphalora_experts_from_exponents_that_imply_the_published_ones(experts):
    published = np.array(experts["AlphaLoRA_Mistral-7B_number_experts"])
    assert (alphalora_experts(published ** (1 / experts["beta"]), experts["target_sum"]) == published).all()


def test_alphalora_experts_are_near_the_published_ones(tables, experts):
    """The exponents were published by others than the counts: close, not equal."""
    alpha = np.load(tables / "mistral-7b" / "alpha_peak.npy").reshape(32, 7).mean(axis=1)
    found, published = alphalora_experts(alpha), np.array(experts["AlphaLoRA_Mistral-7B_number_experts"])
    assert found.sum() == published.sum() == 160
    assert np.abs(found - published).max() <= 2
    assert np.corrcoef(found, published)[0, 1] > 0.95


def test_mola_experts_are_the_published_ones(experts):
    assert (mola_experts(32) == experts["MoLA_2468_Llama2-7B"]).all()


def test_mola_quarters_of_a_depth_that_is_no_multiple_of_four():
    assert mola_experts(6).tolist() == [2, 2, 4, 6, 6, 8]


@given(SCORES, st.integers(0, 40), st.sampled_from([1.0, 2.0, 3.0]))
def test_layerif_experts_keep_the_total_and_the_order(scores, spare, beta):
    total = len(scores) + spare
    for experts in (layerif_experts(scores, total, beta=beta), layerif_experts_rounded(scores, total, beta=beta)):
        assert experts.sum() == total
        assert experts.min() >= 1
        assert (np.diff(experts[np.argsort(scores)]) <= 0).all()


@given(SCORES, st.integers(0, 40))
def test_layerif_experts_do_not_know_the_unit_of_the_scores(scores, spare):
    total = len(scores) + spare
    assert (layerif_experts(scores, total) == layerif_experts(scores * 1024, total)).all()


def test_layerif_experts_by_hand():
    # w = (2^2, 1, 0); 4 spare experts: shares 3.2, 0.8, 0 -> 3, 0, 0 and the last one to the fraction 0.8
    assert layerif_experts([0.0, 1.0, 2.0], 7).tolist() == [4, 2, 1]
    # 7 w / 5 = 5.6, 1.4, 0 -> 6, 1, 0 -> the floor 1 makes 8 -> the first is furthest above its share that may fall
    assert layerif_experts_rounded([0.0, 1.0, 2.0], 7).tolist() == [5, 1, 1]


def test_equal_scores_share_equally():
    assert layerif_experts([3.0] * 4, 10).tolist() == [3, 3, 2, 2]
    assert layerif_sparsity([3.0] * 4, [1, 2, 3, 4], 0.5, epsilon=0.2).tolist() == [0.5] * 4
    assert owl_sparsity([3.0] * 4, 0.5) == pytest.approx([0.5] * 4, abs=1e-15)


@given(SCORES, st.randoms(use_true_random=False))
def test_sparsity_keeps_the_target_and_the_order_and_moves_with_the_layers(scores, random):
    sizes = np.array([random.randint(1, 1000) for _ in scores], dtype=float)
    sparsity = layerif_sparsity(scores, sizes, 0.4, epsilon=0.1)
    assert sizes @ sparsity == pytest.approx(0.4 * sizes.sum(), rel=1e-12)
    assert (np.diff(sparsity[np.argsort(scores)]) > 0).all()
    order = np.array(random.sample(range(len(scores)), len(scores)))
    assert layerif_sparsity(scores[order], sizes[order], 0.4, epsilon=0.1) == pytest.approx(sparsity[order], rel=1e-12)


def test_smoothing_keeps_a_cubic():
    depth = np.linspace(-1, 1, 15)
    assert layerif_smoothed(depth**3 - depth) == pytest.approx(depth**3 - depth, abs=1e-13)


def test_owl_counts_outliers():
    weight = np.ones((4, 5))
    weight[0, 0] = -100.0
    assert owl_outliers(weight, np.ones(5)) == 5.0  # one of 20
    assert owl_outliers(weight, [0, 1, 1, 1, 1]) == 0.0  # an outlier that meets no input


def power_law(alpha, n):
    """The quantiles at (i + 1/2) / n of p(x) ~ x^-alpha on x >= 1, ascending."""
    return (1 - (np.arange(n) + 0.5) / n) ** (-1 / (alpha - 1))


@pytest.mark.parametrize("alpha", [2.0, 3.0, 4.5])
def test_the_exponent_of_a_power_law_is_found(alpha):
    assert tail_exponent(power_law(alpha, 2000)) == pytest.approx(alpha, rel=0.02)


def best_fit(values, low, high):
    """The search for lambda_min by loops: (distance, alpha) of the best start within [low, high]."""
    fits = []
    for start in [v for v in values[:-1] if low <= v <= high]:
        tail = [v for v in values if v >= start]
        alpha = 1 + len(tail) / sum(np.log(v / start) for v in tail)
        fits.append((max(abs(1 - (v / start) ** (1 - alpha) - i / len(tail)) for i, v in enumerate(tail)), alpha))
    return min(fits)[1], max(fits)[1]


def test_lambda_min_is_the_best_fit_near_the_peak():
    """On a spectrum with a wide bulk the window and the Kolmogorov-Smirnov choice both decide."""
    values = np.sort(np.exp(np.random.default_rng(4).standard_normal(150)))
    counts, edges = np.histogram(np.log10(values), 20)
    peak = 10 ** edges[np.argmax(counts)]
    best, worst = best_fit(values, 0.95 * peak, 1.5 * peak)
    assert tail_exponent(values, bins=20) == pytest.approx(best, rel=1e-12)
    assert worst != pytest.approx(best, rel=1e-3)


def test_lambda_min_is_not_sought_below_the_peak():
    """Fits from below the peak are better here, and are not taken."""
    below, lump, far = power_law(2.0, 200), 5 * np.linspace(1, 1.02, 30), [500.0] * 3
    values = np.sort(np.concatenate([below[below < 5], lump, far]))
    near = best_fit(values, 4.9, 7)[0]
    assert best_fit(values, 0, 7)[0] != pytest.approx(near, rel=1e-2)
    assert tail_exponent(values) == pytest.approx(near, rel=1e-12)


@pytest.mark.parametrize("alpha", [2.5, 4.0])
def test_the_exponent_of_a_matrix_with_a_planted_spectrum(alpha):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((rows, 200)))[0] for rows in (300, 200))
    weight = left * np.sqrt(power_law(alpha, 200)) @ right.T
    assert htsr_alpha(weight) == pytest.approx(alpha, rel=0.1)
    assert htsr_alpha(weight.T) == pytest.approx(htsr_alpha(weight), rel=1e-9)
    assert htsr_alpha(1024 * weight) == pytest.approx(htsr_alpha(weight), rel=1e-6)


def test_farms_of_the_whole_matrix_is_htsr():
    weight = np.random.default_rng(1).standard_normal((120, 60))
    assert farms_alpha(weight, width=60) == pytest.approx(htsr_alpha(weight), rel=1e-12)
    assert farms_alpha(weight.T, width=60) == farms_alpha(weight, width=60)


def test_farms_takes_the_bias_of_the_shape_away():
    rng = np.random.default_rng(2)
    square, tall = rng.standard_normal((240, 240)), rng.standard_normal((960, 120))
    gap = abs(htsr_alpha(square) - htsr_alpha(tall))
    assert abs(farms_alpha(square, width=60) - farms_alpha(tall, width=60)) < 0.2 * gap


def test_zd_of_gaussian_weights_and_of_a_single_spike():
    gaussian = np.random.default_rng(3).standard_normal((400, 400))
    assert zd_score(gaussian) == pytest.approx(0.158655, abs=4e-3)  # 1 - Phi(1), four standard errors
    assert zd_score(5 + 3 * gaussian) == pytest.approx(zd_score(gaussian), abs=1e-4)
    assert zd_score(np.eye(4)) == 0.25


def test_lim_is_the_negative_cosine():
    inputs = np.array([[3.0, 4.0], [1.0, 0.0]])
    assert lim_score(inputs, 2 * inputs) == pytest.approx(-1)
    assert lim_score(inputs, -inputs) == pytest.approx(1)
    assert lim_score(inputs, [[-4.0, 3.0], [1.0, 0.0]]) == pytest.approx(-0.5)
    assert lim_score(1e-200 * inputs, 1e200 * inputs) == pytest.approx(-1)


def test_avss_by_hand():
    # variances 1 and 3, sparsities 1/2 (by a mean of 1) and 1/4
    first, second = [[0.0, 2.0]], [[0.0, 4.0, 4.0, 4.0]]
    assert avss_scores([first, second], threshold=0.5) == pytest.approx([0.25 / 0.5, 0.75 / 0.25])


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layerif_experts([0.0, NAN]), r"scores: entry \(1,\) is nan"),
        (lambda: layerif_experts([[1.0]]), r"scores: expected a non-empty array with 1 axes, got shape \(1, 1\)"),
        (lambda: layerif_experts([0.0, 1.0, 2.0], 2), "total: expected a whole number of at least 3"),
        (lambda: layerif_experts([0.0, 1.0], 4, beta=0.0), "beta: expected a positive number, got 0.0"),
        (lambda: layerif_experts(["a"]), "scores: expected an array of real numbers"),
        (lambda: layerif_smoothed([1.0] * 6), "needs at least 7 layers, got 6"),
        (lambda: layerif_sparsity([0.0, 1.0], [1, 1, 1], 0.5, epsilon=0.1), r"sizes: expected .* shape \(2,\)"),
        (lambda: layerif_sparsity([0.0, 1.0], [1, 0], 0.5, epsilon=0.1), "sizes: layer 1 has 0.0"),
        (lambda: layerif_sparsity([0.0, 1.0], [1, 1], 1.5, epsilon=0.1), r"sparsity: expected .* \[0, 1\], got 1.5"),
        (lambda: layerif_sparsity([0.0, 1.0], [1, 1], 0.9, epsilon=0.3), "layer 1 would get sparsity 1.17"),
        (lambda: alphapruning_sparsity([0.0, 1.0], [1, 1], 0.5, epsilon=2), r"epsilon: expected .* got 2"),
        (lambda: alphalora_experts([1.0, -1.0], 4), "alpha: layer 1 has -1.0"),
        (lambda: alphalora_experts([1.0, 1.0], 4, beta=-1), "beta: expected a non-negative number, got -1"),
        (lambda: mola_experts(0), "layers: expected at least 1, got 0"),
        (lambda: mola_experts(4, quarters=(0, 1, 1, 1)), "quarters: expected four numbers"),
        (lambda: owl_sparsity([0.0, 1.0], 0.01), "outliers: layer 1 would get sparsity -0.07"),
        (lambda: owl_outliers(np.ones((2, 3)), [1.0, 1.0]), "input_norms: expected 3 numbers"),
        (lambda: owl_outliers(np.ones((1, 1)), [1.0], multiple=0), "multiple: expected a positive number, got 0"),
        (lambda: htsr_alpha(np.eye(5)), "spectrum has no tail"),
        (lambda: htsr_alpha(np.zeros((3, 3))), "spectrum has no tail"),
        (lambda: htsr_alpha(np.ones((2, 2)), bins=0), "bins: expected at least 1, got 0"),
        (lambda: farms_alpha(np.eye(5), aspect_ratio=0.5), "aspect_ratio: expected .* at least 1, got 0.5"),
        (lambda: farms_alpha(np.ones((2, 9)), aspect_ratio=9), r"weight: shape \(2, 9\) .* has no sub-matrix"),
        (lambda: zd_score(np.ones((2, 2))), "weight: every entry is 1.0"),
        (lambda: lim_score(np.ones((2, 2)), np.ones((2, 3))), "outputs: expected the shape of the inputs"),
        (lambda: lim_score([[1.0], [0.0]], [[1.0], [1.0]]), "inputs: token 1 is zero"),
        (lambda: avss_scores([], threshold=1), "expected one array per layer, got none"),
        (lambda: avss_scores([np.ones((2, 2))], threshold=1), "every layer is constant"),
        (lambda: avss_scores([[[1.0, 2.0]]], threshold=0.1), "threshold: layer 0 has no activation below 0.1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ScoringError, match=message):
        call()


def literal_influences(train, validation):
    """DataInf as it is written, one pair of samples after the other."""
    n = len(train)
    damping = 0.1 * np.mean([np.mean(g**2) for g in train])
    s = np.zeros(n)
    for v in validation:
        r = sum(v - (g @ v) / (damping + g @ g) * g for g in train) / (n * damping)
        s -= np.array([r @ g for g in train])
    return s


@given(st.integers(0, 10**6))
def test_layerif_influences_equal_datainf_written_out(seed):
    rng = np.random.default_rng(seed)
    train, validation = rng.normal(size=(5, 12)), rng.normal(size=(3, 12))
    found = layerif_influences(train @ train.T, train @ validation.T, 12)
    expected = literal_influences(train, validation)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    assert layerif_score(found) == pytest.approx(expected.sum(), rel=1e-9, abs=1e-9 * np.abs(expected).max())
    assert layerif_score(found, "+ve") == pytest.approx(expected[expected < 0].sum(), rel=1e-9)


def test_layerif_influences_refuse_bad_products():
    eye = np.eye(3)
    for arguments, message in (
        ((np.ones((3, 2)), eye, 4), r"expected \(n, n\) and \(n, v\), got \(3, 2\)"),
        ((eye, np.ones((2, 2)), 4), "expected"),
        ((eye, eye, 0), "parameters: expected at least 1, got 0"),
        ((0 * eye, eye, 4), "every gradient is zero"),
    ):
        with pytest.raises(ScoringError, match=message):
            layerif_influences(*arguments)
    with pytest.raises(ScoringError, match="kind: expected 'all' or '\\+ve', got 'some'"):
        layerif_score([1.0], "some")


def test_ecoflap_of_a_linear_loss_is_the_mean_slope():
    rng = np.random.default_rng(0)
    g, z = rng.normal(size=20), rng.normal(size=(4000, 20))
    slopes = z @ g
    assert ecoflap_score(3 + 0.1 * slopes, 3 - 0.1 * slopes, 0.1) == pytest.approx(np.abs(slopes).mean())
    # half-normal: mean sqrt(2/pi) |g|, standard deviation below |g|; five standard errors
    assert ecoflap_score(slopes, -slopes, 1.0) == pytest.approx(
        np.sqrt(2 / np.pi) * np.linalg.norm(g), abs=5 * np.linalg.norm(g) / np.sqrt(len(z))
    )
    with pytest.raises(ScoringError, match="expected 2 losses as above, got 1"):
        ecoflap_score([1.0, 2.0], [1.0], 0.1)
    with pytest.raises(ScoringError, match="step: expected a positive number, got 0"):
        ecoflap_score([1.0], [1.0], 0)


def test_ablation_is_the_rise_of_the_loss():
    assert ablation_scores([3.5, 2.0], 2.5).tolist() == [1.0, -0.5]
