"""The table of peak memory and time of scores, from the committed results."""

from __future__ import annotations

from result_tables import load, table

ORDER = {"whole": "as a whole", "by layer": "layer by layer", "streamed": "`--stream`"}


def memory_of_scores() -> str:
    """Peak memory and processor time of every run, by model and way."""
    places = [*ORDER]
    runs = sorted(load("memory")["runs"], key=lambda run: (run["wanted_gb"], run["model"], places.index(run["way"])))
    rows = [
        (
            "SmolLM2" if run["model"] == "smollm2" else f"random {run['model']}, bfloat16",
            f"{run['sequences']} x {run['length']}",
            ORDER[run["way"]],
            f"{run['peak_gb']:.2f} GB",
            f"{run['cpu_seconds']:.0f}",
        )
        for run in runs
    ]
    return table(("model", "text", "way", "peak memory", "processor seconds"), rows)
