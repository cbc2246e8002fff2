"""`brodmann data` without a spec lists the sets; with the name of one it shows its rows."""

import json

from brodmann.cli import main


def test_the_sets_are_listed(capsys):
    assert main.run(["data", "--json"]) == 0
    rows = {row["set"]: row for row in json.loads(capsys.readouterr().out)["sets"]}
    assert rows["imdb"]["chance"] == 0.5 and rows["humaneval"]["scorer"] == "code"
    assert main.run(["data"]) == 0
    assert "emocontext" in capsys.readouterr().out


def test_a_list_is_no_file(capsys, tmp_path):
    assert main.run(["data", "--out", str(tmp_path / "rows.jsonl")]) == 2
    assert "Expected a data spec with --out; got none" in capsys.readouterr().err


def test_a_set_is_shown_and_written(capsys, tmp_path):
    out = tmp_path / "rows.jsonl"
    words = ["data", "gsm8k:source=sample", "--split", "test", "--samples", "1", "--out", str(out)]
    assert main.run(words) == 0
    assert "How many leeks is that?" in capsys.readouterr().out
    assert len(out.read_text(encoding="utf-8").splitlines()) == 8


def test_what_a_folder_lacks_is_one_line(capsys, tmp_path):
    assert main.run(["data", f"gsm8k:dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Expected the data of gsm8k in ") and error.count("\n") == 1


def test_gold_answers_are_run_on_their_tests_with_leave_only(brodmann):
    words = ("data", "humaneval:source=sample", "--limit", 3, "--samples", 0, "--check-gold")
    refused = brodmann(*words)
    assert refused.returncode == 2
    assert "--allow-code-execution" in refused.stderr
    told = brodmann(*words, "--allow-code-execution")
    assert told.returncode == 0, told.stderr
    assert "3 of 3 of the set's own answers pass their tests" in told.stdout
    rows = json.loads(brodmann(*words, "--allow-code-execution", "--json").stdout)["gold"]
    assert [row["gold_passes"] for row in rows] == [True] * 3
    none = brodmann("data", "gsm8k:source=sample", "--check-gold")
    assert none.returncode == 2
    assert "humaneval, mbpp, apps" in none.stderr


def test_a_gold_answer_that_fails_is_shown(brodmann, tmp_path):
    row = {"task_id": "HumanEval/0", "prompt": "def f(x):\n", "entry_point": "f"}
    row |= {"canonical_solution": "    return x\n", "test": "def check(f):\n    assert f(1) == 2\n"}
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps(row) + "\n")
    spec = f"humaneval:dir={tmp_path},split=all"
    told = brodmann("data", spec, "--samples", 0, "--check-gold", "--allow-code-execution")
    assert "0 of 1 of the set's own answers pass" in told.stdout
    assert "AssertionError" in told.stdout
