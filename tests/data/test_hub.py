"""Sets on the hub, with the library's loader replaced by one that has rows of its own."""

import sys

import pytest

from brodmann.data import load_examples
from brodmann.errors import DataError, InputError, RunError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def hub(monkeypatch):
    """Return a function that says what the hub holds; it returns the calls that were made."""

    def holds(**splits):
        calls = []

        def load_dataset(*args, **kwargs):
            calls.append((args, kwargs))
            return datasets.DatasetDict(splits)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    return holds


def rows(name, n):
    return datasets.Dataset.from_list(
        [{"question": f"{name} {i}?", "answer": str(i)} for i in range(n)]
    )


def test_the_sets_own_splits_are_used(hub):
    calls = hub(train=rows("train", 8), test=rows("test", 3), validation=rows("validation", 2))
    spec = "hub:org/name@v1:config=main,prompt=question"
    train = load_examples(spec, "train")
    assert [e.prompt for e in train] == [f"train {i}?" for i in range(8)]
    assert train[0].meta["scorer"] == "number"
    assert len(load_examples(spec, "test")) == 3 and len(load_examples(spec)) == 11
    assert len(load_examples(spec, "train", limit=5)) == 5
    assert len(load_examples(f"{spec},test=validation", "test")) == 2
    halves = [load_examples(f"{spec},part={k}/2", "train") for k in (1, 2)]
    assert sorted(e.prompt for half in halves for e in half) == [e.prompt for e in train]
    assert calls[0] == (("org/name", "main"), {"revision": "v1"})  # trust_remote_code never


def test_a_single_split_is_divided(hub):
    hub(train=rows("train", 100))
    train, test = (load_examples("hub:org/name:prompt=question", s) for s in ("train", "test"))
    assert len(train) + len(test) == 100 and 5 < len(test) < 40


def test_class_labels_become_names(hub):
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["sad", "glad"])
    )
    table = {"text": ["a", "b"], "label": [1, 0]}
    hub(train=datasets.Dataset.from_dict(table, features), test=rows("x", 1))
    examples = load_examples("hub:org/name:prompt=text,answer=label", "train")
    assert [e.answer for e in examples] == ["glad", "sad"]
    assert examples[0].choices == ("sad", "glad") and examples[0].meta["scorer"] == "choice"
    table["label"][1] = -1
    hub(train=datasets.Dataset.from_dict(table, features))
    with pytest.raises(DataError, match="class label in row 1 of hub:org/name, split train"):
        load_examples("hub:org/name:prompt=text,answer=label")


def test_what_is_not_there(hub):
    hub(train=rows("train", 3), validation=rows("validation", 3))
    with pytest.raises(DataError, match=r"split 'test' in hub:org/name; it has train, validation"):
        load_examples("hub:org/name:prompt=question", "test")
    with pytest.raises(DataError, match=r"test= one of hub:org/name's splits .* got 'dev'"):
        load_examples("hub:org/name:prompt=question,test=dev", "train")
    with pytest.raises(DataError, match="'prompt' in row 0 of hub:org/name, split train"):
        load_examples("hub:org/name", "train")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ConnectionError("Couldn't reach\nthe hub"), RunError, "could not be reached .*reach"),
        (type("ConnectError", (Exception,), {})("no route"), RunError, "no route"),
        (ValueError("Config name is missing.\nPick one"), DataError, "Config name is missing"),
        (RuntimeError(""), DataError, "RuntimeError"),
    ],
)
def test_failures_are_one_line(monkeypatch, error, kind, words):
    def load_dataset(*args, **kwargs):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(kind, match=words) as caught:
        load_examples("hub:org/name")
    assert "\n" not in str(caught.value)


def test_the_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'brodmann\[datasets\]'"):
        load_examples("hub:org/name")
