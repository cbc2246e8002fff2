"""Running text from files: paragraphs, and rows with a column of text."""

import pytest

from brodmann.data import load_texts
from brodmann.data.fact_files import holds_facts
from brodmann.errors import DataError
from tests.data.test_facts import FACT, pararel, written


def test_plain_text_is_read_by_paragraphs(tmp_path):
    (tmp_path / "a.txt").write_text("one line\nand its second\n\n \n\nanother\n", encoding="utf-8")
    assert load_texts(tmp_path / "a.txt") == ("one line\nand its second", "another")


def test_rows_give_their_column_of_text(tmp_path):
    rows = [{"text": "one", "id": 1}, {"text": " "}, {"text": "two"}]
    assert load_texts(written(tmp_path / "a.jsonl", rows)) == ("one", "two")
    assert load_texts(written(tmp_path / "a.json", rows, lines=False)) == ("one", "two")


def test_what_is_no_text_is_refused_in_one_line(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty.txt").write_text("\n\n")
    for source, said in [
        (tmp_path / "no.txt", "there is none"),
        (tmp_path, "there is none"),
        (tmp_path / "latin.txt", "UTF-8"),
        (tmp_path / "empty.txt", "it is empty"),
        (written(tmp_path / "a.jsonl", [{"txt": "one"}]), "Expected a column 'text' in line 1"),
        (written(tmp_path / "b.jsonl", [{"text": None}]), "text or a number as 'text'"),
    ]:
        with pytest.raises(DataError) as caught:
            load_texts(source)
        assert said in str(caught.value) and "\n" not in str(caught.value)


def test_facts_are_told_from_examples(tmp_path):
    plain = {"prompt": "a", "answer": "b"}
    assert holds_facts(written(tmp_path / "a.jsonl", [FACT]))
    assert holds_facts(pararel(tmp_path / "pararel"))
    assert not holds_facts(written(tmp_path / "b.jsonl", [plain]))
    assert not holds_facts(written(tmp_path / "c.jsonl", [FACT | {"fact": "lake"}]))
    assert not holds_facts(f"{tmp_path / 'a.jsonl'}:prompt=prompt")
    assert not holds_facts("arithmetic/add")
