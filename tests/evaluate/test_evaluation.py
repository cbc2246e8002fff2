import pytest

from brodmann.errors import InputError
from brodmann.evaluate.evaluation import Evaluation


def row(answer="7", predicted="7", **more):
    return {
        "prompt": "3+4=", "answer": answer, "scorer": "integer", "output": predicted,
        "parsed": predicted, "format_ok": predicted is not None, "predicted": predicted,
        "correct": answer == predicted, "logprob": -1.0, "margin": 0.5, "n_tokens": 1,
        "chance": 0.0,
    } | more  # fmt: skip


def label(answer, predicted, choices=("Yes", "No")):
    more = {"scorer": "choice", "choices": list(choices), "chance": 1 / len(choices)}
    return row(answer, predicted, generated_correct=answer == predicted, **more)


def test_sums():
    rows = [row(), row("8", "7"), row("8", None, margin=-1.5), row("8", "8")]
    result = Evaluation.from_rows(rows, {"model": "m"})
    assert (result.n, result.n_independent, result.accuracy) == (4, 4, 0.5)
    assert result.interval == pytest.approx((0.15003898915214947, 0.8499610108478506))
    assert result.chance == 0.0 and result.majority == 0.75
    assert result.margin == pytest.approx(0.0)
    assert result.margin_interval[0] < 0 < result.margin_interval[1]
    assert result.format_rate == 0.75 and result.scorer == "integer"
    assert result.macro_f1 is None and result.letter_accuracy is None


def test_repeated_expressions_are_one_sample():
    rows = [row(expression="3+4")] * 30 + [row("8", "7", expression="4+4")] * 30
    result = Evaluation.from_rows(rows)
    assert (result.n, result.n_independent) == (60, 2)
    assert result.interval == pytest.approx((0.0945, 0.9055), abs=1e-3)
    assert "2 independent" in str(result)


def slow_macro_f1(pairs):
    labels = {x for pair in pairs for x in pair}
    total = 0.0
    for one in labels:
        precision_of = [answer == one for answer, predicted in pairs if predicted == one]
        recall_of = [predicted == one for answer, predicted in pairs if answer == one]
        precision = sum(precision_of) / len(precision_of) if precision_of else 0.0
        recall = sum(recall_of) / len(recall_of) if recall_of else 0.0
        total += 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return total / len(labels)


def test_macro_f1_of_labels():
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("c", "a"), ("b", "b")]
    result = Evaluation.from_rows([label(*pair, choices=("aa", "b", "c")) for pair in pairs])
    assert result.macro_f1 == pytest.approx(slow_macro_f1(pairs))
    assert result.letter_accuracy is None and result.chance == pytest.approx(1 / 3)


def test_letters_have_a_letter_accuracy_instead():
    rows = [label("A", "B", "ABCD"), label("C", "C", "ABCD")]
    result = Evaluation.from_rows(rows)
    assert result.macro_f1 is None and result.letter_accuracy == 0.5


def test_chinese_yes_and_no_are_labels():
    result = Evaluation.from_rows([label("是", "是", "是否")])
    assert result.macro_f1 == 1.0 and result.letter_accuracy is None


def test_mixed_scorers():
    result = Evaluation.from_rows([row(), label("Yes", "No")])
    assert result.scorer == "choice+integer" and result.chance == 0.25
    assert result.macro_f1 is None


def test_save_and_load(tmp_path):
    rows = [row(operators=["add"]), label("Yes", "No")]
    result = Evaluation.from_rows(rows, {"model": "m", "batches": [[0, 1]]})
    result.save(tmp_path / "out")
    loaded = Evaluation.load(tmp_path / "out")
    assert loaded.to_dict() == result.to_dict()
    assert loaded.rows[0]["operators"] == ["add"] and loaded.rows[1]["choices"] == ["Yes", "No"]
    with pytest.raises(InputError, match="overwrite"):
        result.save(tmp_path / "out")
    result.save(tmp_path / "out", overwrite=True)


def test_load_refuses_what_is_no_evaluation(tmp_path):
    with pytest.raises(InputError, match="there is none"):
        Evaluation.load(tmp_path)
    Evaluation.from_rows([row()]).save(tmp_path / "out")
    (tmp_path / "out" / "evaluation.json").write_text('{"accuracy": 1.0}')
    with pytest.raises(InputError, match="something else"):
        Evaluation.load(tmp_path / "out")
    (tmp_path / "out" / "evaluation.json").write_text("[1]")
    with pytest.raises(InputError, match="something else"):
        Evaluation.load(tmp_path / "out")


def test_no_rows():
    with pytest.raises(InputError, match="at least one example"):
        Evaluation.from_rows([])


def test_html_is_escaped_and_static():
    html = Evaluation.from_rows([row(scorer="<script>x</script>")])._repr_html_()
    assert "<script" not in html and "&lt;script&gt;" in html and "<svg" in html


def test_terminal():
    result = Evaluation.from_rows([row(), row("8", "7")])
    assert repr(result) == ("Evaluation(accuracy 0.500 [0.095, 0.905], margin +0.50, n=2, integer)")
    assert "chance" in str(result) and "majority answer 0.500" in str(result)
