"""Do surrogates and peers agree on which layers of SmolLM2-135M matter? `python -m benchmarks.agreement`.

Every surrogate that one pass gives and every peer, decoder layer by decoder layer, on one text; the matrix-free
surrogates as `benchmarks.prediction` measured them, on fewer tokens. Every score is turned so that high means
"matters". One method after the other; what is in the result file already is not run again. Writes
results/agreement.json.
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks import common
from zetaplan.scoring import load_model, read_sequences, score
from zetaplan.scoring.backward.backward import backward_pass
from zetaplan.scoring.backward.statistics import Gram, take_in
from zetaplan.scoring.model.blocks import LINEAR, layer_blocks, module_blocks
from zetaplan.scoring.model.losses import mean_loss
from zetaplan.scoring.peers.ablation import ablation_scores
from zetaplan.scoring.peers.avss import avss_scores
from zetaplan.scoring.peers.ecoflap import ecoflap_score
from zetaplan.scoring.peers.farms import farms_alpha
from zetaplan.scoring.peers.htsr import htsr_alpha
from zetaplan.scoring.peers.layerif import layerif_influences, layerif_score
from zetaplan.scoring.peers.lim import lim_score
from zetaplan.scoring.peers.owl import owl_outliers
from zetaplan.scoring.peers.zd import zd_score
from zetaplan.scoring.text.sequences import checked_batches, labelled_places

RESULTS = Path(__file__).parent / "results"
RESULT = RESULTS / "agreement.json"
ONE_PASS = ("block-fisher", "diagonal-fisher", "gradient", "mc-fisher", "kfac", "ekfac")
PROBES, STEP = 4, 1e-3  # of ECoFLaP's difference quotients, the step relative to the weights' root mean square


def by_layer(model, of_weight):
    """The mean over each layer's linears."""
    return [
        float(np.mean([of_weight(m.weight.detach().numpy()) for m in block.modules.values() if isinstance(m, LINEAR)]))
        for block in layer_blocks(model)
    ]


def hidden_states(model, text):
    """The K + 1 arrays (tokens, hidden) before, between and after the layers."""
    with torch.no_grad():
        states = model(**text.batch, use_cache=False, output_hidden_states=True).hidden_states
    return [state.flatten(0, 1).numpy() for state in states]


def owl(model, text):
    """The share of outliers of |W| |X| over all linears of a layer together."""
    norms = {}

    def keep(name):
        return lambda module, args, output: norms.update({name: args[0].flatten(0, 1).square().sum(0).sqrt()})

    blocks = layer_blocks(model)
    linears = {n: m for block in blocks for n, m in block.modules.items() if isinstance(m, LINEAR)}
    handles = [module.register_forward_hook(keep(name)) for name, module in linears.items()]
    with torch.no_grad():
        model(**text.batch, use_cache=False)
    for handle in handles:
        handle.remove()
    found = []
    for block in blocks:
        joined = torch.cat([(linears[n].weight.abs() * norms[n]).flatten() for n in block.modules if n in linears])
        found.append(owl_outliers(joined.detach().numpy()[None], np.ones(joined.numel())))
    return found


def ablation(model, text):
    """How much the loss rises when a layer hands on what it was given."""
    data = checked_batches(text)
    before, found = mean_loss(model, data), []
    for block in layer_blocks(model):
        layer = model.get_submodule(block.name)
        handle = layer.register_forward_hook(lambda module, args, output: args[0])
        found.append(mean_loss(model, data))
        handle.remove()
    return ablation_scores(found, before).tolist()


def ecoflap(model, text):
    """|g| of a layer from central differences along seeded random directions, on the first four sequences."""
    data, found = checked_batches({key: value[:4] for key, value in text.batch.items()}), []
    for block in layer_blocks(model):
        parameters = list(block.named_parameters.values())
        generator = torch.Generator().manual_seed(0)
        losses = []
        for _ in range(PROBES):
            z = [torch.randn(p.shape, generator=generator) * p.detach().square().mean().sqrt() for p in parameters]
            ends = []
            for sign in (1, -2, 1):  # there, as far to the other side, and back
                with torch.no_grad():
                    for parameter, direction in zip(parameters, z, strict=True):
                        parameter.add_(direction, alpha=sign * STEP)
                ends.append(0.0 if sign == 1 and ends else mean_loss(model, data))
            losses.append(ends[:2])
        found.append(ecoflap_score(*np.array(losses).T, STEP))
    return found


def layerif(model, text):
    """Influence by DataInf: even sequences train, odd ones validate. The lower, the more a layer helps."""
    parts, data, n = module_blocks(model), checked_batches(text), len(text)
    grams, places = [Gram(n) for _ in parts], [labelled_places(batch) for batch in data]

    def consume(index, name, module, pairs):
        take_in([grams[index]], places, name, module, pairs)

    backward_pass(model, parts, data, consume, [torch.ones(len(batch["labels"])) for batch in data])
    influences = {block.name: np.zeros(len(range(0, n, 2))) for block in layer_blocks(model)}
    for part, gram in zip(parts, grams, strict=True):
        own = gram.products.numpy()[::2]
        layer = next(name for name in influences if part.name.startswith(f"{name}."))
        influences[layer] += layerif_influences(own[:, ::2], own[:, 1::2], gram.parameters)
    return [-layerif_score(s) for s in influences.values()]


def lim(model, text):
    states = hidden_states(model, text)
    return [lim_score(a, b) for a, b in pairwise(states)]


def avss(model, text):
    states = hidden_states(model, text)[1:]
    return avss_scores(states, threshold=0.1 * float(np.median([np.abs(s).mean() for s in states]))).tolist()


PEERS = {
    "LayerIF (All)": layerif,
    "HTSR alpha": lambda model, text: [-a for a in by_layer(model, htsr_alpha)],
    "FARMS": lambda model, text: [-a for a in by_layer(model, farms_alpha)],
    "ZD": lambda model, text: by_layer(model, zd_score),
    "OWL": owl,
    "LIM": lim,
    "AVSS": avss,
    "ECoFLaP": ecoflap,
    "layer ablation": ablation,
    "depth (MoLA)": lambda model, text: list(map(float, range(len(layer_blocks(model))))),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    options = parser.parse_args()
    model = load_model("smollm2")
    text = read_sequences("pydoc", model.tokenizer, sequences=options.sequences, length=options.length)
    done = json.loads(RESULT.read_text()) if RESULT.exists() else {"scores": {}, "seconds": {}}
    predicted = json.loads((RESULTS / "prediction.json").read_text())["rows"]
    for row in predicted.values():
        if row["surrogate"] in ("ggn", "token-fisher", "nystrom") and "gain" in row:
            done["scores"][row["surrogate"]] = row["gain"]
    _save(done, model, text)
    methods = {name: lambda _, t, name=name: score(model, t, curvature=name).gain.tolist() for name in ONE_PASS}
    for name, method in {**methods, **PEERS}.items():
        if name in done["scores"]:
            continue
        started = time.perf_counter()
        done["scores"][name] = [float(value) for value in method(model.model, text)]
        done["seconds"][name] = round(time.perf_counter() - started, 1)
        _save(done, model, text)
        print(name, done["seconds"][name], flush=True)


def _save(done, model, text):
    names = list(done["scores"])
    matrix = [[spearmanr(done["scores"][a], done["scores"][b]).statistic for a in names] for b in names]
    done |= {
        "command": "python -m benchmarks.agreement",
        "machine": common.machine(),
        "model_sha256": model.sha256,
        "text": text.description,
        "text_sha256": text.sha256,
        "names": names,
        "rank_correlation": np.round(matrix, 3).tolist(),
    }
    common.save("agreement", done)


if __name__ == "__main__":
    main()
