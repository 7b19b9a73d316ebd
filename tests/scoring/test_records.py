"""What a tokenizer meets is the text, and nothing of the file that holds it; all else is refused by file and line."""

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiny_models import byte_tokenizer
from zetaplan.errors import ZetaplanError
from zetaplan.evaluate.choices import read_items
from zetaplan.evaluate.perplexity import read_tokens
from zetaplan.scoring import read_sequences

TOKENIZER = byte_tokenizer()
FUZZ = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])

#: Text with what has broken readers: separators of Unicode, marks, braces, emoji; never half a surrogate pair.
TEXTS = st.text(
    st.one_of(
        st.sampled_from('\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\ufeff{}[]":,\\ \n\r\tab'),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    min_size=2,
    max_size=24,
)
SUFFIXES = st.sampled_from([".jsonl", ".JSONL", ".JsonL", ".ndjson", ".json", ".JSON"])


def ids(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def read(path: Path, count: int) -> list[list[int]]:
    found = read_sequences(path, TOKENIZER, sequences=count, length=200)
    return [row[mask == 1].tolist() for row, mask in zip(found.input_ids, found.attention_mask, strict=True)]


def refused(path: Path, action) -> str | None:
    """The message of the refusal, in one line and with the file; None if there was none."""
    message = None
    try:
        action()
    except ZetaplanError as error:
        message = str(error)
    assert message is None or (str(path) in message and "\n" not in message)
    return message


@FUZZ
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    suffix=SUFFIXES,
    ascii_only=st.booleans(),
    mark=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    last=st.booleans(),
)
def test_records_are_their_texts(tmp_path, texts, suffix, ascii_only, mark, end, last):
    lines = [json.dumps({"id": 1, "text": text}, ensure_ascii=ascii_only) for text in texts]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(codecs.BOM_UTF8 * mark + (end.join(lines) + end * last).encode())
    assert read(path, len(texts)) == [ids(text) for text in texts]
    assert read_tokens(path, TOKENIZER).tolist() == ids("\n\n".join(texts))


@FUZZ
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), indent=st.sampled_from([None, 1]), field=st.booleans())
def test_an_array_is_its_records(tmp_path, texts, indent, field):
    name, path = ("body" if field else "ctx"), tmp_path / "x.json"
    path.write_text(json.dumps([{name: text} for text in texts], indent=indent))
    found = read_sequences(path, TOKENIZER, sequences=len(texts), length=200, field=name if field else None)
    assert [row[mask == 1].tolist() for row, mask in zip(found.input_ids, found.attention_mask, strict=True)] == [
        ids(text) for text in texts
    ]


@FUZZ
@given(
    text=TEXTS.map(lambda text: f"A {text}"),
    suffix=st.sampled_from([".txt", ".TXT", ".md", ""]),
    mark=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_plain_text_is_itself(tmp_path, text, suffix, mark, end):
    path, plain = tmp_path / f"x{suffix}", text.replace("\r\n", "\n").replace("\r", "\n")
    path.write_bytes(codecs.BOM_UTF8 * mark + plain.replace("\n", end).encode())
    assert read_tokens(path, TOKENIZER).tolist() == ids(plain)
    assert read_sequences(path, TOKENIZER, sequences=1, length=len(ids(plain))).input_ids[0].tolist() == ids(plain)


@FUZZ
@given(
    text=TEXTS,
    encoding=st.sampled_from(["utf-16", "utf-32", "utf-16-le", "utf-16-be"]),
    suffix=SUFFIXES | st.just(".txt"),
)
def test_other_encodings_are_refused(tmp_path, text, encoding, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(f"{{ {text}".encode(encoding))
    assert refused(path, lambda: read_sequences(path, TOKENIZER, sequences=1, length=2))
    assert refused(path, lambda: read_tokens(path, TOKENIZER))
    assert refused(path, lambda: read_items(path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\ud83d"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "ctx", "choices", "gold", "a"]), inner)
    ),
    max_leaves=8,
)
BYTES = st.one_of(
    st.binary(max_size=60),
    st.lists(JSON, max_size=3).map(lambda values: "\n".join(json.dumps(value) for value in values).encode()),
    st.sampled_from([b"[" * 100_000, b'{"text": ' * 50_000, b'{"text": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf", b"{}"]),
)


@settings(FUZZ, max_examples=150)
@given(content=BYTES, suffix=SUFFIXES | st.sampled_from([".txt", "", ".csv"]))
def test_any_bytes_are_read_or_refused_by_file_and_line(tmp_path, content, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    for action in (
        lambda: read_sequences(path, TOKENIZER, sequences=1, length=2),
        lambda: read_tokens(path, TOKENIZER),
        lambda: read_items(path),
    ):
        refused(path, action)


@pytest.mark.parametrize("text", ["\ud83d", "good \udc00", "\ud83dx"])
@pytest.mark.parametrize("name", ["text", "ctx", "sentence1", "sentence2", "choices"])
def test_half_a_character_is_refused_with_its_line(tmp_path, text, name):
    whole = {"sentence1": "one", "sentence2": "two", "choices": ["a", "b"], "gold": 0}
    bad = {**whole, name: ["a", text] if name == "choices" else text}
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(whole)}\n\n{json.dumps(bad)}\n")
    if name != "choices":
        for action in (lambda: read_sequences(path, TOKENIZER, sequences=1), lambda: read_tokens(path, TOKENIZER)):
            assert "line 3: field" in refused(path, action)
    if name != "text":
        assert "line 3: " in refused(path, lambda: read_items(path))
    with pytest.raises(ZetaplanError, match="template: it has"):
        read_items(path, template=f"{{prompt}} {text}")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": None}, "line 1: field 'text' is null; expected a text; leave the record out"),
        ({"text": ""}, "line 1: field 'text' is an empty text; leave the record out"),
        ({"text": 3}, "line 1: field 'text' is a number"),
        ({"text": ["a"]}, "line 1: field 'text' is a list"),
        ({"sentence1": "a"}, "line 1 has no field 'sentence2'"),
        ({"body": "a"}, r"it has 'body'; name the text field with `field` \(--field"),
        ({}, "it has no field; name the text field"),
        ({"text": "a"}, "line 1 has 1 token; at least 2 are needed to predict one; leave the record out"),
    ],
)
def test_a_record_without_a_text_is_refused_with_the_remedy(tmp_path, record, message):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(ZetaplanError, match=message):
        read_sequences(path, TOKENIZER, sequences=1)


def test_a_field_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "one", "text": "two"}')
    assert "line 1 is not JSON (field 'text' occurs twice)" in refused(
        path, lambda: read_sequences(path, TOKENIZER, sequences=1)
    )


@pytest.mark.parametrize(
    "content",
    ['{"text": "ab"}\n{"text": "cd"}', '[{"text": "ab"}]', '{\n "text": "ab"\n}', ' \n{"a": 1}\n\n{"b": 2}\n'],
)
@pytest.mark.parametrize("name", ["x.txt", "x", "x.jsonl.bak", "x.data"])
def test_records_by_another_name_are_not_taken_for_text(tmp_path, content, name):
    path = tmp_path / name
    path.write_text(content)
    for action in (
        lambda: read_sequences(path, TOKENIZER, sequences=1, length=2),
        lambda: read_tokens(path, TOKENIZER),
    ):
        assert "contains JSON records, so their braces and keys would count as text" in refused(path, action)


@pytest.mark.parametrize("content", ["{} is a dictionary", "[1, 2]", "{'a': 1}\n", "[]", "{x}"])
def test_text_that_only_begins_like_json_is_text(tmp_path, content):
    path = tmp_path / "x.txt"
    path.write_text(content)
    assert read_tokens(path, TOKENIZER).tolist() == ids(content)


def test_a_table_is_not_taken_for_text(tmp_path):
    path = tmp_path / "x.CSV"
    path.write_text("id,text\n1,a\n")
    assert "is a table" in refused(path, lambda: read_tokens(path, TOKENIZER))


def test_a_field_of_plain_text_is_refused(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("abc")
    with pytest.raises(ZetaplanError, match=r"field: 'body' names a field of records, and .* is plain text"):
        read_sequences(path, TOKENIZER, sequences=1, length=2, field="body")


def test_items_come_from_arrays_and_named_fields(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"question": "q", "choices": ["a", "b"], "gold": 1}]))
    [item] = read_items(path, field="question")
    assert (item.prompt, item.choices, item.gold) == ("q", ("a", "b"), 1)
