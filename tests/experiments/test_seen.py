"""Tests of other data that ask what was trained on are told."""

import json

from brodmann.experiments.sample import Sample
from brodmann.experiments.seen import seen_in_training
from brodmann.experiments.workbench import Workbench


def write_data(folder, rewritten_from):
    """GSM8K of 20 questions, and MetaMath of as many, made of those of GSM8K or of others."""
    gsm8k = folder / "gsm8k"
    gsm8k.mkdir(parents=True)
    questions = [f"Ann has {n} pears and buys two. How many has she?" for n in range(20)]
    rows = [{"question": q, "answer": f"so #### {n + 2}"} for n, q in enumerate(questions)]
    for part in ("train", "test"):
        text = "\n".join(json.dumps(row) for row in (rows if part == "train" else rows[:1]))
        (gsm8k / f"{part}.jsonl").write_text(text)
    made = [
        {
            "query": f"How many pears has Ann, who had {n} and bought two?",
            "original_question": rewritten_from.format(question=question),
            "response": f"The answer is: {n + 2}",
        }
        for n, question in enumerate(questions)
    ]
    made[7]["query"] = questions[7]
    (folder / "MetaMathQA-395K.json").write_text(json.dumps(made))
    return folder


def notes(folder):
    bench = Workbench("tiny-random", folder / "cache", data_dir=folder)
    tests = {"Meta_Math": Sample("metamath", "all"), "SVAMP": Sample("svamp:source=sample", "test")}
    return seen_in_training(bench, Sample("gsm8k", "train"), tests)


def test_rewritten_questions_are_found_by_their_origin(tmp_path):
    (one,) = notes(write_data(tmp_path, "{question}"))
    assert one["column"] == "Meta_Math"
    assert one["note"].startswith("19 of 20 ask what was trained on")  # one is a test question


def test_a_question_that_stands_there_word_for_word_is_found_without(tmp_path):
    (one,) = notes(write_data(tmp_path, "Of another set: {question}"))
    assert one["note"].startswith("1 of 20 ask")
