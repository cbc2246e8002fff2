"""The report of a reproduced table: ours beside the paper's, in every format, names escaped."""

import csv
import io
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from brodmann.errors import InputError
from brodmann.report import print_reproduced, report_any, report_reproduced
from brodmann.report.reproduced_csv import file_name
from brodmann.report.reproduced_latex import latex_text
from brodmann.report.reproduced_results import find_reproduced, load_reproduced
from brodmann.report.reproduced_tables import cell_text, digits_for
from brodmann.storage import read_json, write_json
from tests.report.reproduced_examples import HOSTILE, KINDS, cell, claim, save, table_2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All examples in one folder, reported."""
    folder = tmp_path_factory.mktemp("reproduced")
    for name, example in KINDS.items():
        example(folder / "smollm2-135m" / name)
    assert report_any(folder) == folder / "index.md"
    return folder


def small(folder, **run):
    """A result that is drawn fast: one panel."""
    return save(folder, "own-table-1", [cell("A", "B", "C", 0.5)], **run)


def text(made, kind, name="report.md"):
    return (made / "smollm2-135m" / kind / name).read_text(encoding="utf-8")


def lines(made, kind, name):
    return list(csv.reader(io.StringIO(text(made, kind, f"tables/{name}"))))


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_has_a_picture_in_both_formats(made, kind):
    folder = made / "smollm2-135m" / kind
    (png,) = (folder / "figures").glob("*.png")
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 5000
    root = ElementTree.parse(png.with_suffix(".svg")).getroot()
    assert root.tag.endswith("svg")
    assert f"(figures/{png.name})" in text(made, kind)


def axes_of(made, kind):
    """How many axes a picture has that are not switched off."""
    (svg,) = (made / "smollm2-135m" / kind / "figures").glob("*.svg")
    parts = [p.get("id", "") for p in ElementTree.parse(svg).getroot().iter()]
    return sum(re.fullmatch(r"axes_\d+", part) is not None for part in parts)


def test_pictures_have_a_panel_for_each_part_of_the_paper(made):
    assert axes_of(made, "dots") == 2 * 5, "blocks by columns"
    assert axes_of(made, "sweep") == 2 * 5, "Forward has five rows; two of Reverse are empty"
    assert axes_of(made, "bars") == axes_of(made, "curves") == axes_of(made, "matrix") == 1
    assert axes_of(made, "map") == 4 + 3, "and a bar of colours for each of three"
    assert "the largest absolute value among 60 neighbouring neurons" in text(made, "map")


def test_traced_layers_are_marked_with_their_facts(made):
    drawing = text(made, "edits", "figures/cnl-figure-2.svg")
    assert axes_of(made, "edits") == 3
    assert drawing.count("<!-- 57 -->") == 3, "in every panel, though no edit was made there"
    assert "<!-- traced layer of a fact (of so many facts) -->" in drawing
    assert "layers that tracing finds" in text(made, "edits")


def test_ours_stands_above_the_paper_in_one_shape(made):
    page = text(made, "dots")
    ours = "| FT-Cap | 0.60 [0.55, 0.65] | 0.63 [0.58, 0.68] |"
    llama = "| FT-Cap | 67.8 | 68.3 | 66.1 | 65.7 | 66.9 (+14.1) |"
    gpt_j = "| FT-Cap | 66.4 | 67.4 | 65.4 | 65.3 | 66.1 (+13.8) |"
    assert page.index(ours) < page.index(llama) < page.index(gpt_j)
    assert "Not measured here: FT-w/o Cap." in page
    assert page.count("|  | + | - | \\* | / | Avg. |") == 2 + 4 + 2, "ours, the paper's, controls"


def test_verdict_contradictions_controls_and_the_run_are_told(made):
    page = text(made, "dots")
    assert "*raises*: **supported**. Avg. rises by 0.19 [0.10, 0.28]." in page
    assert "Stated before the run: Tuning located neurons" in page
    assert "gain of 19.9 over random parameters is in no row" in page
    assert (
        "| Enhancement | Original | Avg. | LLaMA-2-7B | average | 47.8 | 47.88 | digits cut" in page
    )
    assert "§4.2: 19.9 (gain of FT-Cap over FT-Random)" in page
    assert "| FT-Cap − FT-Random | +0.16 [+0.11, +0.21] |" in page
    assert "| Layer-matched, worst of 20 | 0.31 [0.26, 0.36] |" in page
    assert "| block | row | column | value | n | p_holm | p |" in page
    assert "brodmann reproduce dcsn-table-2 --model smollm2-135m" in page
    for fact in ("train.steps: 30", "seeds: 0, 1", "Q8_0", "torch 2.13.0", "12 seconds"):
        assert fact in page
    for unwritten in ("None", "nan", "object at", "{{", "Undefined"):
        assert unwritten not in page


def test_an_average_that_does_not_add_up_is_recomputed(tmp_path):
    save(tmp_path / "nine", "dcsn-table-9", [cell("Erasure", "Original", "Avg.", 0.5)])
    page = report_reproduced(tmp_path / "nine").read_text(encoding="utf-8")
    assert "| Enhancement | FT-Cap | Avg. | LLaMA-2-7B | average | 62.1 | 65.90 | differs |" in page


def test_tables_have_one_width(made):
    for kind in KINDS:
        tables = [block for block in text(made, kind).split("\n\n") if block.startswith("| ")]
        assert tables or kind == "map"
        for table in tables:
            bare = [line.replace(r"\|", "") for line in table.strip().splitlines()]
            assert len({line.count("|") for line in bare}) == 1, table


def test_names_do_nothing_in_markdown(made):
    for page in (text(made, "hostile"), (made / "index.md").read_text(encoding="utf-8")):
        assert "<b>" not in page and HOSTILE not in page
        assert r"evil\|&lt;b&gt;\*x\*" in page
    page = text(made, "hostile")
    assert page.count("```") == 2, "the command line does not end its own fence"


def test_names_do_nothing_in_latex(made):
    source = text(made, "hostile", "tables/table.tex")
    assert HOSTILE not in source and "<b>" not in source
    for environment in ("table", "tabular"):
        begun = source.count(rf"\begin{{{environment}}}")
        assert begun == source.count(rf"\end{{{environment}}}") == 3
    bare = re.sub(r"\\[\\{}&%$#_]", "", source)
    assert bare.count("{") == bare.count("}")
    rows = [line for line in source.splitlines() if line.endswith(r" \\") and "emph" not in line]
    for line in rows:
        assert len(re.findall(r"(?<!\\)&", line)) == 2, line
        assert not re.search(r"(?<!\\)[%$#_^~]", line.replace("$-$", "")), line
        assert not line.startswith(("*", "[")), "TeX would read an argument of the line before"


def test_latex_has_the_papers_rows(made):
    source = text(made, "dots", "tables/table.tex")
    assert r"\emph{Paper: LLaMA-3-8B (percent, as printed)}" in source
    assert r"FT-Cap & 0.60 {[}0.55, 0.65] &" in source
    assert r" & + & - & {*} & / & Avg. \\" in source
    assert r"Deactivate-Cap & 32.5 & 31.5 & 30.4 & 30.8 & 31.3 ($-$20.7) \\" in source


def test_latex_specials():
    assert latex_text("a_b & 50% #1 $x$ {y} ~ ^ \\ <i>\n|") == (
        r"a\_b \& 50\% \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{}i\textgreater{} \textbar{}"
    )
    assert latex_text("σ=6 −0.1 – *") == r"$\sigma$=6 $-$0.1 -- {*}"


def test_tidy_csv_has_every_number_beside_the_papers(made):
    header, *rows = lines(made, "dots", "enhancement.csv")
    assert header == [
        *("block", "row", "column", "value", "low", "high", "unit", "n", "extra", "p_holm", "p"),
        *("paper: LLaMA-2-7B", "paper: GPT-J-6B"),
    ]
    found = {(row[1], row[2]): dict(zip(header, row, strict=True)) for row in rows}
    assert len(found) == 20
    assert found["FT-Cap", "+"]["value"] == "0.6"
    assert found["FT-Cap", "+"]["paper: LLaMA-2-7B"] == "0.678"
    assert found["FT-Cap", "Avg."]["paper: GPT-J-6B"] == "0.661"
    assert found["FT-Cap − FT-Random", "+"]["paper: GPT-J-6B"] == ""
    assert found["FT-Cap − FT-Random", "+"]["extra"] == "True"


def test_shaped_csv_is_the_papers_table(made):
    header, *rows = lines(made, "dots", "erasure.table.csv")
    assert header == ["from", "row", "+", "-", "*", "/", "Avg."]
    assert rows[0] == ["This run: smollm2-135m", "Original", *["0.41 [0.36, 0.46]"] * 5]
    assert rows[2][:3] == ["Paper: LLaMA-3-8B (percent, as printed)", "Original", "56.4"]


def test_hostile_names_go_through_csv_unchanged(made):
    header, *rows = lines(made, "hostile", "a-and-b-i.csv".replace("and-", ""))
    assert rows[0][:3] == ["A & B|<i>", HOSTILE, HOSTILE]
    assert rows[0][header.index("note")] == HOSTILE


def test_files_are_named_by_plain_words_and_never_twice():
    assert file_name("+", []) == "plus" and file_name("+&-", []) == "plus-and-minus"
    assert file_name("σ=3", []) == "sigma-3" and file_name("1-OP", []) == "1-op"
    assert file_name("../x", []) == "x" and file_name("<>", []) == "block"
    assert file_name("A!", ["a.csv", "a-2.csv"]) == "a-3"


def test_the_index_has_every_result_in_the_papers_order(made):
    page = (made / "index.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]*report\.md)\)", page)
    order = ["dots", "sweep", "bars", "matrix", "edits", "map", "curves", "hostile"]
    assert links == [f"smollm2-135m/{name}/report.md" for name in order]
    assert page.index("| dcsn-table-2 | Table 2 |") < page.index("| cnl-figure-4 | Figure 4 |")
    row = next(line for line in page.splitlines() if line.startswith("| dcsn-table-2"))
    assert row.endswith("| cpu | 1 | 0 | 0 |")


def test_links_survive_odd_folder_names(tmp_path):
    small(tmp_path / "all" / "my (model) ü")
    small(tmp_path / "all" / "b")
    page = report_any(tmp_path / "all").read_text(encoding="utf-8")
    assert "](my%20%28model%29%20%C3%BC/report.md)" in page


def test_a_report_is_the_same_when_made_again(made):
    folder = made / "smollm2-135m" / "matrix"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    before = [path.read_bytes() for path in files]
    assert report_any(folder) == folder / "report.md"
    assert [path.read_bytes() for path in files] == before


def test_the_smoke_preset_is_said_to_mean_nothing(tmp_path):
    page = report_reproduced(small(tmp_path / "smoke", preset="smoke", environment={})).read_text()
    assert "This is the smoke preset" in page


def test_the_terminal_ends_with_the_verdict(made):
    console = Console(file=io.StringIO(), width=150)
    print_reproduced(made / "smollm2-135m" / "hostile", console)
    shown = console.file.getvalue()
    assert f"This run: {HOSTILE}" in shown, "rich markup in a name is text"
    assert shown.rstrip().endswith(f"because of {HOSTILE}")
    console = Console(file=io.StringIO(), width=150)
    print_reproduced(made / "smollm2-135m" / "dots", console)
    shown = console.file.getvalue()
    assert shown.index("0.60 [0.55, 0.65]") < shown.index("66.9 (+14.1)")
    assert shown.rstrip().endswith("raises: supported. Avg. rises by 0.19 [0.10, 0.28].")


def test_many_results_are_an_overview_on_the_terminal(made):
    console = Console(file=io.StringIO(), width=150)
    print_reproduced(made, console)
    shown = console.file.getvalue()
    assert "Experiments" in shown and shown.count("• raises: supported") == len(KINDS) - 1


def test_other_folders_are_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="holds none"):
        report_any(tmp_path)
    write_json(tmp_path / "tune" / "run.json", {"verb": "tune"})
    with pytest.raises(InputError, match="brodmann reproduce"):
        report_any(tmp_path / "tune")
    save(tmp_path / "odd", "dcsn-table-2", [{"block": "A", "row": "B", "value": 1}])
    with pytest.raises(InputError, match="Expected column in cell 0") as error:
        report_any(tmp_path / "odd")
    assert "\n" not in str(error.value)
    write_json(tmp_path / "odd" / "results.json", {"rows": []})
    with pytest.raises(InputError, match="Expected 'cells'"):
        load_reproduced(tmp_path / "odd")


def test_results_are_found_three_folders_down_and_not_among_unfinished_ones(tmp_path):
    table_2(tmp_path / "a" / "b" / "c")
    table_2(tmp_path / "a" / ".c.1234.partial")
    table_2(tmp_path / "a" / "b" / "too" / "deep")
    write_json(tmp_path / "map" / "run.json", {"experiment": "map"})
    assert [one.folder for one in find_reproduced(tmp_path)] == [tmp_path / "a" / "b" / "c"]


def test_a_value_that_was_not_measured_is_a_dash(tmp_path):
    place = ("Enhancement", "Original")
    cells = [cell(*place, "+", None), cell(*place, "-", 0.0, 0.2)]
    folder = save(tmp_path / "out", "dcsn-table-2", cells, verdict=[claim(verdict="not supported")])
    assert "| Original | – | 0.00 [−0.20, 0.20] |" in report_any(folder).read_text()
    assert read_json(folder / "results.json")["cells"][0]["value"] is None


def test_small_numbers_keep_two_digits():
    assert cell_text(cell("a", "b", "c", 0.0014, 0.0004, "share")) == "0.0014 [0.0010, 0.0018]"
    assert cell_text(cell("a", "b", "c", -0.3, 0.1, "change")) == "−0.30 [−0.40, −0.20]"
    assert cell_text(cell("a", "b", "c", 1234, None, "neurons")) == "1,234"
    assert digits_for(0.0, None) == 2 and digits_for(1e-9) == 5 and digits_for(0.01, 0.2) == 2
