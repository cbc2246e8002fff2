"""The examples of the documentation run as they stand."""

import re
from pathlib import Path

import pytest

from brodmann.cli.main import app

ROOT = Path(__file__).parents[2]
VERBS = {command.name for command in app.registered_commands}
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md")),
]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def python_blocks(page: str) -> str:
    """All Python blocks of a page, one after the other."""
    return "\n".join(re.findall(r"```python\n(.*?)```", text_of(page), flags=re.DOTALL))


def run_in_seconds(page: str) -> dict[str, object]:
    names: dict[str, object] = {}
    code = re.sub(r"limit=\d+", "limit=8", python_blocks(page))
    exec(compile(code, page, "exec"), names)
    return names


@pytest.mark.real_model
@pytest.mark.xdist_group("smollm2")
def test_the_quickstart_runs(capsys):
    names = run_in_seconds("docs/quickstart.md")
    assert "NeuronSet(" in capsys.readouterr().out
    assert names["before"].margin > names["after"].margin


@pytest.mark.real_model
@pytest.mark.xdist_group("smollm2")
def test_the_readme_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_in_seconds("README.md")
    shown = capsys.readouterr().out
    assert "NeuronSet(" in shown and shown.count("accuracy") == 2
    assert (tmp_path / "add-neurons" / "set.json").exists()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text_of(page)):
        if "://" not in target:
            assert (folder / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", text_of(page), flags=re.DOTALL))
    for verb in re.findall(r"^brodmann (\w+)", shell, flags=re.MULTILINE):
        assert verb in VERBS, f"{page}: brodmann {verb}"
