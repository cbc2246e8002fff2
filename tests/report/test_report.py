"""A report is made of saved files alone, says what they hold, and escapes every name."""

import io

import pytest
from rich.console import Console

from brodmann.errors import InputError
from brodmann.experiments import run_map
from brodmann.report import load_results, report_folder
from brodmann.report.figure_neurons import pooled
from brodmann.report.markdown import markdown_text
from brodmann.report.tables import between, number
from brodmann.report.terminal import print_results
from brodmann.storage import read_json, write_json
from tests.experiments.maps import planted, small_config

HOSTILE = "kay|<b>*x* [red]$y^"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    config = small_config(place / "data")
    capabilities = config.capabilities.replace("kay=", f"{HOSTILE}=")
    config = small_config(place / "data", capabilities=capabilities)
    return run_map(planted(), config, place / "out", finish=report_folder)


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.md").read_text(encoding="utf-8")


def test_the_report_and_its_pictures_are_in_the_folder(folder, page):
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"neurons.png", "overlap.png", "convergence.png", "erasure.png", "dose.png"}
    for name in names:
        assert (folder / "figures" / name).read_bytes().startswith(b"\x89PNG")
        assert f"(figures/{name})" in page


def test_the_report_says_what_was_found(folder, page):
    results = load_results(folder)
    for sentence in results.sentences:
        assert str(markdown_text(sentence)) in page
    for row in results.tables["verdict"]:
        assert str(markdown_text(row["because"])) in page
    for title in (
        "The model as it is",
        "Located sets",
        "Neutral text",
        "Verdict",
        "Thresholds",
        "Separability",
    ):
        assert title in page
    assert "This is the small preset" in page
    for unwritten in ("None", "nan", "object at", "{{"):
        assert unwritten not in page
    assert "Tested on 6 held-out items of seven" in page


def test_names_do_nothing(page):
    assert "<b>" not in page
    assert r"kay\|&lt;b&gt;\*x\*" in page
    assert HOSTILE not in page


def test_links_and_emphasis_are_text_and_numbers_stay_readable():
    assert markdown_text("[x](http://evil)") == r"[x\](http://evil)"
    assert markdown_text("_x_ a_b `c`\n# d") == r"\_x\_ a_b \`c\` # d"
    assert markdown_text("-2.00 [-2.50, -1.50] nats") == "-2.00 [-2.50, -1.50] nats"


def test_tables_have_one_width(page):
    tables = [block for block in page.split("\n\n") if block.startswith("| ")]
    assert len(tables) >= 6
    for table in tables:
        lines = [line.replace(r"\|", "") for line in table.strip().splitlines()]
        assert len({line.count("|") for line in lines}) == 1, table


def test_the_terminal_ends_with_the_verdict(folder):
    results = load_results(folder)
    console = Console(file=io.StringIO(), width=200)
    print_results(results, console)
    shown = console.file.getvalue()
    assert HOSTILE in shown, "rich markup in a name is text"
    words = " ".join(shown.split())
    for sentence in results.sentences:
        assert " ".join(sentence.split()) in words
    assert shown.rstrip().endswith(results.sentences[-1][-20:])


def test_a_report_can_be_made_again_without_a_model(folder):
    before = {p.name: p.read_bytes() for p in (folder / "figures").iterdir()}
    report_folder(folder)
    assert {p.name: p.read_bytes() for p in (folder / "figures").iterdir()} == before


def test_a_folder_of_something_else_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"run\.json"):
        load_results(tmp_path)
    write_json(tmp_path / "run.json", {"verb": "locate"})
    with pytest.raises(InputError, match="brodmann map"):
        report_folder(tmp_path)


def test_empty_sets_are_reported(tmp_path):
    rule = {"sigma": 1e6, "dispersion": "mad", "scope": "global", "sign": "both"}
    config = small_config(tmp_path / "data", raw_rule=rule, contrast_rule=rule)
    folder = run_map(planted(), config, tmp_path / "out", finish=report_folder)
    assert {row["neurons"] for row in read_json(folder / "results.json")["sets"]} == {0}
    assert "The rule selected no neurons" in (folder / "report.md").read_text()


def test_a_square_of_the_map_is_the_largest_of_its_neighbours():
    import torch

    values = torch.zeros(2, 5)
    values[0, 1], values[1, 4] = -3, 2
    assert pooled(values, 2).tolist() == [[3, 0, 0], [0, 0, 2]]


def test_numbers_read_well():
    assert number(-0.001) == "0.00"
    assert number(-0.5, signed=True) == "−0.50"
    assert number(None) == number(float("nan")) == "–"
    assert between(0.5, 0.25, 0.75) == "0.50 [0.25, 0.75]"
    assert between(0.5, None, None) == "0.50"
