"""Every command ends with status 0, 1 or 2 and at most one line on standard error, whatever its files hold.

Files are drawn from a seed: cut, with bits turned, of another kind, with one value replaced and sealed again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.bits.menus import menu_of, modules
from tests.bits_plans import plan_of
from tests.made import made_scores
from tests.models.test_shortened_folder import plan_without
from tests.refining.planted import planted_plan
from tests.tiny_models import tiny_llama
from zetaplan._files import canonical, digest
from zetaplan.bits.quantize import quantize
from zetaplan.cli.app import app
from zetaplan.documents.convert import save_scores
from zetaplan.menus.menu import Menu
from zetaplan.menus.planner import choose
from zetaplan.plans.planner import allocate, prune

#: Command lines; {file} is the file that is spoiled.
COMMANDS = {
    "allocate {file} -o made --force": "scores.json",
    "prune {file} -o made --force": "scores.json",
    "sweep {file} --from 1 --to 4 --points 2 -o made.csv --force": "scores.json",
    "verify {file}": "rank.json",
    "report {file} -o made.html --force": "rank.json",
    "export {file} --to csv -o made --force": "sparsity.json",
    "export {file} --to json -o made --force": "formats.json",
    "regret {file}": "sparsity.json",
    "regret {file} --drift 0.1": "rank.json",
    "regret rank.json --scores {file}": "scores.json",
    "choose {file} --budget 1e6 -o made --force": "bits.json",
    "quantize {file} --bits-per-weight 6 -o made --force": "bits.json",
    "quantize {file} --fits 30kB --context 9 --floor head=q8_0 -o made --force": "bits.json",
    "verify {file}  --json": "formats.json",
    "report {file} -o made.html --force ": "formats.json",
    "run {file} --force": "job.yaml",
    "audit --plan {file}": "published.json",
    "audit --plan {file} --for vllm": "dynamic.json",
    "apply model {file} -o made --check": "sparsity.json",
    "verify {file} --quiet": "refined.json",
    "refine model {file} -o made --force": "refined.json",
    "apply model {file} -o made --to safetensors": "stored.json",
    "apply model {file} -o made  --check": "layers.json",
    "apply model {file} -o made.gguf --to gguf --check": "stored.json",
    "evaluate model --choices {file}": "items.jsonl",
}
VALUES: tuple[Any, ...] = (
    None, True, "", "x", -1, 0, 1, 2, 1e308, -1e308, 5e-324, 2**63, 10**400, [], {}, [1], [[]], {"a": 1}, "\ud83d",
)  # fmt: skip
TEXTS = (b"", b"\0", b"\xff\xfe", b"[]", b"{}", b"null", b"1", b'"x"', b"[" * 100_000, b"{" * 9, b"NaN", b"1e999",
         b'{"schema": "zetaplan.plan/1"}', b'{"schema": "zetaplan.scores/1", "layers": []}', b"\xef\xbb\xbf{}",
         b'{"a": 1, "a": 2}', b"- 1", b"a: *b", b"a: &a [*a]", b"!!python/object:os.system {}", b"program: pruning",
         b'{"program": "pruning"}', b'{"program": "allocation", "plans": {}}', b"9" * 5000)  # fmt: skip


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scores = made_scores()
    save_scores(scores, "scores.json")
    allocate(scores, mean_rank=4, lower=1.0, upper=8.0).save("rank.json")
    prune(scores, sparsity=0.5, upper=0.8).save("sparsity.json")
    choose(Menu(("q",), (("int4-g64", "bf16"),), ((9.0, 0.0),), (((2,), (8,)),)), 3).save("formats.json")
    job = {"model": "none", "scores": "scores.json", "plan": {"kind": "rank", "lower": 1.0}, "out": "job"}
    Path("job.yaml").write_text(json.dumps({**job, "export": [{"to": "csv"}]}))
    planted_plan().save("refined.json")
    plan_of(tiny_llama(), ["bf16", "int4", "f16"], sha256="0" * 64, runtime="mlx").save("stored.json")
    plan_without(["a", "b"], ["a"]).save("layers.json")
    published = {"program": "pruning", "sizes": [1.0, 1.0], "sparsity": [0.4, 0.6], "target": 1.0}
    Path("published.json").write_text(json.dumps(published))
    dynamic = {"bits": 4, "group_size": 64, "dynamic": {"-:.*q_proj": {}, ".*k_proj": {"bits": 8, "sym": False}}}
    Path("dynamic.json").write_text(json.dumps(dynamic))
    menu = menu_of(modules("q_proj"), ("q4_0", "q8_0"), lambda k, j: -float(j))
    menu.save("bits.json")
    quantize(menu, size=20_000, floors={"head": "q8_0"}).save("formats.json")
    item = {"ctx": "The sky is", "choices": ["blue", "a road"], "gold": 0}
    Path("items.jsonl").write_text(json.dumps(item) + "\n")


def spoiled(good: bytes, draw: random.Random) -> Iterator[bytes]:
    """The file, spoiled in some ways."""
    yield from TEXTS
    for _ in range(4):
        yield good[: draw.randrange(len(good))]
        flipped = bytearray(good)
        flipped[draw.randrange(len(good))] ^= 1 << draw.randrange(8)
        yield bytes(flipped)
        yield draw.randbytes(draw.randrange(1, 300))
    for _ in range(25):
        yield edited(good, draw)


def edited(good: bytes, draw: random.Random) -> bytes:
    """The JSON with one value replaced, removed or renamed; sealed again where it has a seal."""
    value = json.loads(good)
    place: Any = value
    while True:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
            break
        place = place[key]
    change: Callable[[], Any] = draw.choice([lambda: place.pop(key), lambda: _set(place, key, draw.choice(VALUES))])
    change()
    if isinstance(value, dict) and "sha256" in value and isinstance(value.get("menu"), dict):
        value["menu_sha256"] = digest(_text(value["menu"]))
        value["sha256"] = digest(_text({**value, "sha256": ""}))
    if isinstance(value, dict) and "sha256" in value and "scores" in value:
        value["scores_sha256"] = digest(_text(value["scores"]))
        value["sha256"] = digest(_text({**value, "sha256": ""}))
    if isinstance(value, dict) and "sha256" in value and "menu" in value:
        value["menu_sha256"] = digest(_text(value["menu"]))
        value["sha256"] = digest(_text({**value, "sha256": ""}))
    return _text(value).encode("utf-8", "surrogatepass")


def _set(place: Any, key: Any, value: Any) -> None:
    place[key] = value


def _text(value: Any) -> str:
    try:
        text = canonical(value)
        text.encode()
    except ValueError:
        return json.dumps(value)
    return text


def complaint(line: str) -> str | None:
    """What is wrong with how a command ends; None if nothing is."""
    result = CliRunner().invoke(app, line.split())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return repr(result.exception)
    lines = result.stderr.splitlines()
    if result.exit_code == 0 or (result.exit_code == 1 and len(lines) == 1):
        return None
    told = len(lines) == 1 and lines[0].startswith("zetaplan: ")
    return None if result.exit_code == 2 and told else f"{result.exit_code}: {result.stderr}"


@pytest.mark.parametrize("line", COMMANDS)
def test_a_spoiled_file_is_one_line(line: str) -> None:
    good, draw = Path(COMMANDS[line]).read_bytes(), random.Random(13)  # noqa: S311
    file = Path(f"spoiled{Path(COMMANDS[line]).suffix}")
    for data in spoiled(good, draw):
        file.write_bytes(data)
        found = complaint(line.format(file=file))
        assert found is None, (data[:300], found)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_path_that_is_no_file_is_one_line(line: str) -> None:
    Path("folder").mkdir()
    for name in ("none.json", "folder", "/dev/null", "scores.json/x", "x" * 300, "-"):
        assert complaint(line.format(file=name)) is None
