"""The frame around the verbs: help, version, exit codes, one line per error."""

import errno
import subprocess
import sys

import pytest

from brodmann.cli import main
from brodmann.cli.failures import failure_of
from brodmann.errors import InputError, RunError

VERBS = [
    "map",
    "locate",
    "inspect",
    "evaluate",
    "compare",
    "tune",
    "erase",
    "scale",
    "edit",
    "data",
    "models",
    "verify",
]


class TestHelp:
    def test_it_lists_every_verb_and_imports_nothing_heavy(self):
        code = (
            "import sys; from brodmann.cli.main import run; code = run(['--help']);"
            "heavy = {'torch', 'transformers', 'scipy', 'matplotlib', 'pyarrow'};"
            "print('HEAVY', sorted(heavy & set(sys.modules))); sys.exit(code)"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "HEAVY []" in result.stdout
        assert all(f" {verb} " in result.stdout for verb in VERBS)

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_has_help_and_json(self, verb, capsys):
        assert main.run([verb, "--help"]) == 0
        assert "--json" in capsys.readouterr().out

    def test_no_words_ask_for_help(self, capsys):
        assert main.run([]) == 0
        assert "Usage" in capsys.readouterr().out

    def test_version(self, capsys):
        assert main.run(["--version"]) == 0
        assert capsys.readouterr().out.startswith("brodmann 0.")


class TestUsageErrors:
    @pytest.mark.parametrize(
        "words",
        [
            ["nonsense"],
            ["locate", "--model", "x"],
            ["locate", "--sigma", "six"],
            ["data", "arithmetic/add", "--split", "dev"],
            ["compare"],
        ],
    )
    def test_they_are_one_line_and_exit_with_2(self, words, capsys):
        assert main.run(words) == 2
        seen = capsys.readouterr()
        assert seen.out == ""
        assert seen.err.startswith("error: ")
        assert seen.err.count("\n") == 1


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "code", "words"),
        [
            (InputError("Expected a.\nGot b."), 2, "Expected a. Got b."),
            (RunError("It broke."), 1, "It broke."),
            (KeyboardInterrupt(), 130, "interrupted; --resume goes on, where a verb has it"),
            (OSError(errno.ENOSPC, "No space"), 1, "disk is full"),
            (MemoryError(), 1, "--batch-size"),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "--batch-size"),
            (ZeroDivisionError("by zero"), 1, "run with --debug"),
        ],
    )
    def test_each_is_a_line_and_a_code(self, error, code, words):
        failure = failure_of(error)
        assert failure.exit_code == code
        assert words in failure.message
        assert "\n" not in failure.message

    def test_out_of_memory_on_a_device_is_known_by_its_name(self):
        import torch

        assert "--batch-size" in failure_of(torch.OutOfMemoryError("CUDA")).message

    def test_a_closed_pipe_is_silent(self):
        assert failure_of(BrokenPipeError()).message == ""

    def test_an_interruption_inside_a_verb(self, monkeypatch, capsys):
        def interrupted(*_args, **_options):
            raise KeyboardInterrupt

        monkeypatch.setattr("brodmann.data.describe", interrupted)
        assert main.run(["data", "arithmetic/add", "--limit", "3"]) == 130
        assert (
            capsys.readouterr().err == "error: interrupted; --resume goes on, where a verb has it\n"
        )

    def test_debug_shows_the_traceback(self, monkeypatch):
        def broken(*_args, **_options):
            raise ZeroDivisionError

        monkeypatch.setattr("brodmann.data.describe", broken)
        with pytest.raises(ZeroDivisionError):
            main.run(["data", "arithmetic/add", "--debug"])
