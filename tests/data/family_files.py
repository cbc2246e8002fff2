"""The sample rows of a set, written as each official release is laid out."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

from brodmann.data.families import TASK_SETS
from brodmann.data.families.sources import SAMPLES

Rows = list[dict]


def sample_rows(name: str) -> dict[str, Rows]:
    """Return the shipped rows of a set by split, in the hub's columns."""
    path = SAMPLES / f"{name.replace('/', '-')}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        split: [
            {key: value for key, value in row.items() if key != "split"}
            for row in rows
            if row["split"] == split
        ]
        for split in ("train", "test")
    }


def json_lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _lines(**names: str) -> Callable:
    def layout(folder: Path, rows: dict[str, Rows]) -> None:
        for split, name in names.items():
            write(folder / name, json_lines(rows[split]))

    return layout


def _lists(**names: str) -> Callable:
    def layout(folder: Path, rows: dict[str, Rows]) -> None:
        for split, name in names.items():
            write(folder / name, json.dumps(rows[split]))

    return layout


def _whole(name: str, as_list: bool) -> Callable:
    def layout(folder: Path, rows: dict[str, Rows]) -> None:
        both = [*rows["train"], *rows["test"]]
        write(folder / name, json.dumps(both, indent=1) if as_list else json_lines(both))

    return layout


def _humaneval(folder: Path, rows: dict[str, Rows]) -> None:
    folder.mkdir()
    text = json_lines([*rows["train"], *rows["test"]])
    (folder / "HumanEval.jsonl.gz").write_bytes(gzip.compress(text.encode()))


def _apps(folder: Path, rows: dict[str, Rows]) -> None:
    for split, of_split in rows.items():
        for row in of_split:
            problem = folder / split / f"{row['problem_id']:04d}"
            write(problem / "question.txt", row["question"])
            write(problem / "solutions.json", row["solutions"])
            write(problem / "input_output.json", row["input_output"])
            if row["starter_code"]:
                write(problem / "starter_code.py", row["starter_code"])


def _concode(folder: Path, rows: dict[str, Rows]) -> None:
    unanswered = [{"nl": "tells the way . concode_field_sep Map map", "code": ""}]
    for name, of_file in (("train", rows["train"]), ("dev", rows["test"]), ("test", unanswered)):
        write(folder / f"{name}.json", json_lines(of_file))


def _emotion(folder: Path, rows: dict[str, Rows]) -> None:
    names = TASK_SETS["emotion"].choices
    for split, of_split in rows.items():
        lines = [f"{row['text']};{names[row['label']]}\n" for row in of_split]
        write(folder / f"{split}.txt", "".join(lines))


def _imdb(folder: Path, rows: dict[str, Rows]) -> None:
    for split, of_split in rows.items():
        for number, row in enumerate(of_split):
            write(folder / split / ("neg", "pos")[row["label"]] / f"{number}_7.txt", row["text"])
    write(folder / "train" / "unsup" / "0_0.txt", "A review that nobody has labelled.")


def _goemotions(folder: Path, rows: dict[str, Rows]) -> None:
    names = TASK_SETS["goemotions"].choices
    write(folder / "emotions.txt", "".join(f"{name}\n" for name in names))
    for split, of_split in rows.items():
        lines = [f"{row['text']}\t{row['labels'][0]}\tid{n}\n" for n, row in enumerate(of_split)]
        write(folder / f"{split}.tsv", "".join([*lines, "Two at once.\t3,7\tidx\n"]))


def _tweets(part: str) -> Callable:
    names = TASK_SETS[f"tweeteval/{part}"].choices

    def layout(folder: Path, rows: dict[str, Rows]) -> None:
        write(folder / "mapping.txt", "".join(f"{n}\t{name}\n" for n, name in enumerate(names)))
        for split, of_split in rows.items():
            write(folder / f"{split}_text.txt", "".join(f"{row['text']} \n" for row in of_split))
            write(folder / f"{split}_labels.txt", "".join(f"{row['label']}\n" for row in of_split))

    return layout


def _emocontext(folder: Path, rows: dict[str, Rows]) -> None:
    names = TASK_SETS["emocontext"].choices
    for split, name in (("train", "train.txt"), ("test", "testwithlabels.txt")):
        lines = ["id\tturn1\tturn2\tturn3\tlabel\n"]
        for n, row in enumerate(rows[split]):
            turns = "\t".join(row[f"turn{k}"] for k in (1, 2, 3))
            lines.append(f"{n}\t{turns}\t{names[row['label']]}\n")
        write(folder / name, "".join(lines))


OFFICIAL: dict[str, tuple[str, Callable]] = {
    "gsm8k": ("grade_school_math/data", _lines(train="train.jsonl", test="test.jsonl")),
    "metamath": ("metamath", _whole("MetaMathQA-395K.json", as_list=True)),
    "svamp": ("SVAMP", _whole("SVAMP.json", as_list=True)),
    "mathqa": ("MathQA", _lists(train="train.json", test="test.json")),
    "amc": ("amc", _whole("aimo-validation-amc.jsonl", as_list=False)),
    "humaneval": ("HumanEval", _humaneval),
    "mbpp": ("mbpp", _whole("mbpp.jsonl", as_list=False)),
    "apps": ("APPS", _apps),
    "codexglue": ("concode", _concode),
    "code25k": ("python-codes-25k", _whole("python-codes-25k.json", as_list=True)),
    "emotion": ("emotion", _emotion),
    "imdb": ("aclImdb", _imdb),
    "goemotions": ("goemotions/data", _goemotions),
    "tweeteval/emotion": ("tweeteval/datasets/emotion", _tweets("emotion")),
    "tweeteval/sentiment": ("tweeteval/datasets/sentiment", _tweets("sentiment")),
    "emocontext": ("EmoContext", _emocontext),
}
"""The folder of each set's official release, and what writes its files there."""

RENAMED = {
    "gsm8k": {"answer": "solution"},
    "metamath": {"query": "question", "response": "answer"},
    "svamp": {"Body": "body", "Question": "question_part", "Answer": "answer", "ID": "id"},
    "amc": {"problem": "question"},
    "humaneval": {"canonical_solution": "answer", "test": "tests", "task_id": "id"},
    "mbpp": {"text": "question", "code": "answer", "test_list": "tests", "task_id": "id"},
    "codexglue": {"nl": "question", "code": "answer"},
    "goemotions": {"labels": "label"},
}
"""Other names of columns that are understood, by the hub's."""
