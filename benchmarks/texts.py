"""Known texts in files of every kind, and damaged files: is what a tokenizer meets the text, or a refusal by file?

Every file is written by its own seed. A known text that is read differently, an error that is no ZetaplanError, or a
message that does not name the file is a fault, and is printed with its seed.

    python benchmarks/texts.py --files 20000
"""

import argparse
import codecs
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.tiny_models import byte_tokenizer
from zetaplan.errors import ZetaplanError
from zetaplan.evaluate.choices import read_items
from zetaplan.evaluate.perplexity import read_tokens
from zetaplan.scoring import read_sequences

TOKENIZER = byte_tokenizer()
ALPHABET = [*'ab {}[]":,\\\n\t', "\u2028", "\u2029", "\x85", "\x0b", "\x1e", "\ufeff", "é", "日", "\U0001f600", "\r"]
SUFFIXES = [".jsonl", ".JSONL", ".ndjson", ".json", ".JSON", ".txt", ".TXT", ""]


def outcome(folder: Path, seed: int) -> str:
    """Of one file: read as known, refused, read where nothing was known, or a fault."""
    rng = np.random.default_rng(seed)
    texts = ["A " + "".join(rng.choice(ALPHABET, rng.integers(1, 30))) for _ in range(rng.integers(1, 4))]
    path = folder / f"{seed}{rng.choice(SUFFIXES)}"
    is_records = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
    content, known = _written(rng, texts, is_records)
    damaged = rng.random() < 0.4
    if damaged:
        content = _damaged(rng, content)
    path.write_bytes(content)
    found: object = []
    for read in (read_items, _sequences, _tokens):
        try:
            found = read(path)  # of the last
        except ZetaplanError as error:
            if str(path) not in str(error):
                return f"fault: {seed} does not name the file: {error}"
        except Exception as error:
            return f"fault: {seed} {type(error).__name__}: {error}"
    if damaged:
        return "damaged: read or refused by file"
    return "known: read as it is" if found == _ids(known) else f"fault: {seed} is read as another text"


def _sequences(path: Path) -> object:
    return read_sequences(path, TOKENIZER, sequences=1, length=2)


def _tokens(path: Path) -> list[int]:
    return read_tokens(path, TOKENIZER).tolist()


def _written(rng: np.random.Generator, texts: list[str], is_records: bool) -> tuple[bytes, str]:
    mark = codecs.BOM_UTF8 * int(rng.random() < 0.3)
    if not is_records:
        end = str(rng.choice(["\n", "\r\n"]))
        plain = "\n".join(texts).replace("\r\n", "\n").replace("\r", "\n")
        return mark + plain.replace("\n", end).encode(), plain
    lines = [json.dumps({"text": text}, ensure_ascii=bool(rng.random() < 0.5)) for text in texts]
    return mark + str(rng.choice(["\n", "\r\n"])).join(lines).encode(), "\n\n".join(texts)


def _damaged(rng: np.random.Generator, content: bytes) -> bytes:
    kind, at = rng.integers(5), int(rng.integers(len(content)))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + rng.bytes(3) + content[at:]
    if kind == 2:
        return content.replace(b'"A ', b'"\\ud83d ')
    if kind == 3:
        return content.decode("utf-8-sig").encode(str(rng.choice(["utf-16", "utf-16-le", "utf-32"])))
    return content.replace(b'"text"', bytes(rng.choice([b'"ctx"', b'"body"', b"null", b'"text": null, "a"'])))


def _ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--files", type=int, default=20_000)
    with TemporaryDirectory() as folder:
        found = Counter(outcome(Path(folder), seed) for seed in range(options.parse_args().files))
    for name, count in sorted(found.items()):
        print(f"{count:7,}  {name}")


if __name__ == "__main__":
    main()
