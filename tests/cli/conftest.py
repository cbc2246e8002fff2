"""A tiny model and tiny data on disk, and the real command to run on them."""

import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers.utils.logging import disable_progress_bar

from brodmann.cli import main
from tests.tiny import tiny_model

ROWS = [(f"{a} plus {b} is", str(a + b)) for a in range(1, 6) for b in range(1, 6)]


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Result]


def run_process(*words: object) -> Result:
    """Run the command as a person would, without a network and without a terminal."""
    command = [sys.executable, "-c", "from brodmann.cli.main import main; main()"]
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)


def run_here(*words: object) -> Result:
    """Run the same command in this process, which has torch imported already."""
    out, err = io.StringIO(), io.StringIO()
    shown = warnings.showwarning
    disable_progress_bar()  # in a process of its own, the environment says so
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main.run([str(word) for word in words])
    finally:
        warnings.showwarning = shown
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def brodmann() -> Command:
    return run_here


@pytest.fixture(scope="session")
def brodmann_process() -> Command:
    return run_process


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """A folder with model/ (llama), other/ (another of its shape), rows.jsonl."""
    folder = tmp_path_factory.mktemp("place")
    for name, seed in (("model", 0), ("other", 1)):
        hf, tokenizer = tiny_model("llama", seed=seed)
        hf.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    write_rows(folder / "rows.jsonl", ROWS, scorer="integer")  # generates least
    return folder


@pytest.fixture(scope="session")
def located(place, brodmann_process) -> Path:
    """A folder that `brodmann locate` made, with five neurons."""
    out = place / "located"
    result = brodmann_process(
        *("locate", "--model", place / "model", "--data", place / "rows.jsonl"),
        *("--split", "all", "--top", 5, "--out", out),
    )
    assert result.returncode == 0, result.stderr
    return out


def write_rows(path: Path, rows: list[tuple[str, str]], **more: str) -> Path:
    """Write a JSONL file of prompts and answers."""
    lines = [json.dumps({"prompt": prompt, "answer": answer, **more}) for prompt, answer in rows]
    path.write_text("\n".join(lines) + "\n" if lines else "", encoding="utf-8")
    return path
