"""The examples of the documentation run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python_blocks(page: str) -> str:
    """All Python blocks of a page, one after the other."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))


@pytest.mark.real_model
@pytest.mark.xdist_group("smollm2")
def test_the_quickstart_runs(capsys):
    names: dict[str, object] = {}
    code = re.sub(r"limit=\d+", "limit=8", python_blocks("docs/quickstart.md"))  # in seconds
    exec(compile(code, "quickstart.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "NeuronSet(" in shown
    assert names["before"].margin > names["after"].margin
