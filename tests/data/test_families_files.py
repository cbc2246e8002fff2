"""Every set from every source: the same rows give the same examples."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from brodmann.data import load_examples
from brodmann.data.families import TASK_SETS
from brodmann.errors import DataError, RunError
from tests.data.family_files import OFFICIAL, RENAMED, json_lines, sample_rows, write

datasets = pytest.importorskip("datasets")

APPS = '{"question": "x", "solutions": "%s", "input_output": "%s"}'
ALL_SETS = pytest.mark.parametrize("name", TASK_SETS)


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("BRODMANN_DATA", raising=False)


def texts(spec, split="all"):
    """Return what the model reads and is tested on, in an order of its own."""
    return sorted(
        (e.prompt, e.delimiter, e.answer, e.choices, repr(e.meta.get("code")))
        for e in load_examples(spec, split)
    )


def same_as_samples(name, spec, splits=("all", "train", "test")):
    return all(texts(spec, s) == texts(f"{name}:source=sample", s) for s in splits)


def splits_of(name, parts):
    """A release in one part has splits of its own."""
    task = TASK_SETS[name]
    return ("all",) if task.is_divided and parts == 1 else ("all", "train", "test")


@ALL_SETS
def test_the_official_release(name, tmp_path, monkeypatch):
    folder, layout = OFFICIAL[name]
    layout(tmp_path / folder, sample_rows(name))
    splits = splits_of(name, 1)
    assert same_as_samples(name, f"{name}:dir={tmp_path}", splits)
    assert same_as_samples(name, f"{name}:dir={tmp_path / folder}", splits)
    monkeypatch.setenv("BRODMANN_DATA", str(tmp_path))
    assert same_as_samples(name, name, splits)
    assert same_as_samples(name, f"{name}:source=folder", splits)


@ALL_SETS
def test_rows_of_the_hub_in_files(name, tmp_path):
    roots = [tmp_path / kind for kind in ("lines", "lists", "parquet", "renamed")]
    folders = [root / name for root in roots]
    for split, rows in sample_rows(name).items():
        renames = RENAMED.get(name, {})
        others = [{renames.get(key, key): row[key] for key in row} for row in rows]
        write(folders[0] / f"{split}.jsonl", json_lines(rows))
        write(folders[1] / f"{split}.json", "\ufeff" + json.dumps(rows))
        (folders[2] / "data").mkdir(parents=True, exist_ok=True)
        half = len(rows) // 2
        for k, shard in enumerate((rows[:half], rows[half:])):
            path = folders[2] / "data" / f"{split}-0000{k}-of-00002.parquet"
            pq.write_table(pa.Table.from_pylist(shard), path)
        write(folders[3] / f"{split}.jsonl", json_lines(others))
    if name == "codexglue":  # there, the hub's test part is its part for validation
        for file in (folders[2] / "data").glob("test-*"):
            file.rename(file.with_name(file.name.replace("test", "validation")))
    for root in roots:
        assert same_as_samples(name, f"{name}:dir={root}"), root


@ALL_SETS
def test_the_hub(name, monkeypatch):
    task, calls = TASK_SETS[name], []
    splits = {
        names[-1]: datasets.Dataset.from_list(rows, features=features(task, rows))
        for names, rows in zip(
            (task.hub.train, task.hub.test), sample_rows(name).values(), strict=True
        )
    }

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        return datasets.DatasetDict(splits | {"unsupervised": splits[task.hub.train[-1]]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert same_as_samples(name, name)
    assert same_as_samples(name, f"{name}:source=hub", ["test"])
    hub, _, revision = task.hub.name.partition("@")
    assert calls[0] == ((hub, task.hub.config or None), {"revision": revision or None})


def features(task, rows):
    """Return the columns' types, with class labels as the hub has them."""
    found = datasets.Dataset.from_list(rows).features
    if task.family == "language":
        label = datasets.ClassLabel(names=list(task.choices))
        if task.name == "imdb":
            label = datasets.ClassLabel(names=["neg", "pos"])
        if "labels" in found:
            found["labels"] = datasets.List(label)
        else:
            found["label"] = label
    return found


def test_the_hub_out_of_reach(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(RunError, match=r"hub:openai/gsm8k: no route .*local file or folder"):
        load_examples("gsm8k", "test")


def test_a_hub_set_with_other_splits(monkeypatch):
    there = datasets.DatasetDict(dev=datasets.Dataset.from_list([{"question": "2?"}]))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: there)
    with pytest.raises(DataError, match=r"split train or test in hub:openai/gsm8k; it has dev"):
        load_examples("gsm8k")


def test_only_what_is_asked_for_is_read(tmp_path):
    write(tmp_path / "train.jsonl", "not JSON\n")
    write(tmp_path / "test.jsonl", json_lines(sample_rows("gsm8k")["test"]))
    assert len(load_examples(f"gsm8k:dir={tmp_path}", "test")) == 8
    with pytest.raises(DataError, match=r"line 1 of .*train.jsonl"):
        load_examples(f"gsm8k:dir={tmp_path}", "train")


@pytest.mark.parametrize(
    ("name", "file", "text", "words"),
    [
        ("gsm8k", "train.jsonl", "\n", "empty"),
        ("gsm8k", "train.jsonl", '{"question": "2?"}', "column solution or answer in line 1"),
        ("gsm8k", "train.jsonl", '{"question": ["2"], "answer": "#### 2"}', "'question' in line 1"),
        ("gsm8k", "train.json", "[1]", "JSON object as row 0 of .* got int"),
        ("gsm8k", "train.json", "[{]", "JSON list in"),
        ("gsm8k", "train.parquet", "PAR1 and no more", "parquet file"),
        ("gsm8k", "train.jsonl.gz", "\x1f", "line 1 of"),
        ("emotion", "train.txt", "i feel fine\n", "text;label in line 1 of"),
        ("emotion", "train.txt", "i feel; fine;bliss\n", "out of sadness, .* got 'bliss'"),
        ("emotion", "train.txt", "\n\n", "test.txt; it is empty"),
        ("emotion", "train.jsonl", '{"text": "fine", "label": 6}', "from 0.* got '6'"),
        ("goemotions", "train.tsv", "Hi.\t27\n", "3 columns parted by tabs in line 1 of .* got 2"),
        ("goemotions", "train.tsv", "Hi.\tjoy\tx\n", "number of a label in line 1 of .* 'joy'"),
        ("goemotions", "train.tsv", "Hi.\t28\tx\n", "label out of admiration.* got '28'"),
        ("emocontext", "train.txt", "id\tturn1\tlabel\n0\thi\n", "3 columns .* in line 2"),
        ("emocontext", "train.txt", "", "empty"),
        ("mbpp", "mbpp.jsonl", '{"task_id": 1, "text": "x", "code": "y"}', "test_list or tests"),
        ("mbpp", "mbpp.jsonl", '{"task_id":1,"text":"x","code":"y","test_list":"z"}', "list of"),
        ("apps", "train.jsonl", APPS % ("[", "{}"), "JSON as the solutions of line 1"),
        ("apps", "train.jsonl", APPS % ("[1]", "[]"), "inputs and outputs in line 1"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(name, file, text, words, tmp_path):
    write(tmp_path / name / file, text)
    write(tmp_path / name / file.replace("train", "test"), text)
    with pytest.raises(DataError, match=words) as caught:
        load_examples(f"{name}:dir={tmp_path}")
    assert "\n" not in str(caught.value)


def test_tweets_and_labels_of_two_lengths(tmp_path):
    write(tmp_path / "train_text.txt", "a\nb\n")
    write(tmp_path / "train_labels.txt", "1\n")
    with pytest.raises(DataError, match=r"as many lines in .*train_labels.txt .* got 1 and 2"):
        load_examples(f"tweeteval:dir={tmp_path}", "train")


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"caf\xe9;joy\n")
    with pytest.raises(DataError, match=r"UTF-8 text in .*train.txt; byte 4"):
        load_examples(f"emotion:dir={tmp_path}", "train")


@ALL_SETS
def test_a_folder_without_the_set(name, tmp_path):
    with pytest.raises(DataError, match=f"Expected the data of {name} in .*none of it") as caught:
        load_examples(f"{name}:dir={tmp_path}")
    assert "\n" not in str(caught.value)
