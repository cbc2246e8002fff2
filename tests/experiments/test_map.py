"""`run_map` on a planted model: what it finds, what it writes, and that it can be interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from brodmann.errors import InputError
from brodmann.evaluate import evaluate
from brodmann.experiments import preset, run_map
from brodmann.experiments.map_config import with_enough_draws
from brodmann.experiments.map_data import load_data
from brodmann.experiments.partial import Partial
from brodmann.interventions import erased
from brodmann.neurons import NeuronScores, NeuronSet
from brodmann.storage import read_json, read_rows
from tests.experiments.maps import COMMON, OTHER, PLANTED, planted, small_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    return planted()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_config(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(model, config, tmp_path_factory):
    return run_map(model, config, tmp_path_factory.mktemp("map") / "out")


@pytest.fixture(scope="module")
def tables(folder):
    return read_json(folder / "results.json")


def test_the_users_own_neutral_texts_are_read(model, tmp_path):
    rows = [f'{{"prompt": "abc def {i}", "answer": "ghi"}}' for i in range(4)]
    (tmp_path / "plain.jsonl").write_text("\n".join(rows), encoding="utf-8")
    own = load_data(small_config(tmp_path / "a", neutral=str(tmp_path / "plain.jsonl")))
    assert sorted(own.neutral) == [f"abc def {i} ghi" for i in range(4)]
    assert len(load_data(small_config(tmp_path / "b")).neutral) > 10
    with pytest.raises(InputError, match=r"absent\.jsonl"):
        load_data(small_config(tmp_path / "c", neutral="absent.jsonl"))


def neurons(folder, name):
    return set(NeuronSet.load(folder / "sets" / name))


def test_raw_sets_hold_the_planted_and_the_common_neurons(folder):
    assert neurons(folder, "seven.raw") == {*PLANTED, *COMMON}
    assert neurons(folder, "kay.raw") == {*OTHER, *COMMON}


def test_contrastive_sets_hold_the_planted_ones_and_none_of_the_others(folder):
    assert set(PLANTED) <= neurons(folder, "seven.contrast")
    assert set(OTHER) <= neurons(folder, "kay.contrast")
    assert neurons(folder, "seven.contrast").isdisjoint(neurons(folder, "kay.contrast"))


def test_saved_scores_hold_both_halves(folder, tables):
    scores = NeuronScores.load(folder / "scores" / "seven")
    assert scores.n_samples == 32
    sizes = [len(scores.half(which).select(sigma=6)) for which in (0, 1)]
    row = next(row for row in tables["sets"] if row["set"] == "seven.raw")
    assert row["neurons_of_halves"] == sizes


def test_similarities_are_those_of_the_planted_sets(tables):
    rows = {(r["kind"], r["rule"], r["a"], r["b"]): r for r in tables["similarity"]}
    assert rows["cohesion", "raw", "seven", "seven"]["value"] == 1
    assert rows["separability", "raw", "seven", "kay"]["value"] == pytest.approx(2 / 5)
    assert rows["across", "raw", "seven", "kay"]["shared"] == 2
    assert rows["separability", "raw", "seven", "kay"]["chance_layer_matched"] < 0.01
    of = {row["set"]: row for row in tables["specificity"]}
    assert of["seven.raw"]["difference"] == pytest.approx(1 - 2 / 5)


def test_effects_are_those_of_erasing_by_hand(model, config, folder, tables):
    items = load_data(config).tests["seven"]
    before = evaluate(model, items)
    with erased(model, NeuronSet.load(folder / "sets" / "kay.raw")):
        after = evaluate(model, items)
    row = next(r for r in tables["erasure"] if r["set"] == "kay.raw" and r["tested"] == "seven")
    assert row["accuracy"] == after.accuracy
    assert row["d_margin"] == pytest.approx(after.margin - before.margin, abs=1e-5)
    assert row["d_margin_low"] <= row["d_margin"] <= row["d_margin_high"]


def test_every_set_is_tested_on_everything_and_beside_random_sets(tables):
    cells = {(row["set"], row["tested"]) for row in tables["erasure"]}
    sets = {row["set"]: row["neurons"] for row in tables["sets"]}
    assert cells == {(name, tested) for name in sets for tested in ("seven", "kay")}
    for name, size in sets.items():
        own = [row for row in tables["controls"] if row["set"] == name]
        assert sorted((row["kind"], row["draw"]) for row in own) == [
            ("layer", 0), ("layer", 1), ("norm", 0),
        ]  # fmt: skip
        assert {row["neurons"] for row in own} == {size}
        damage = [row for row in tables["collateral"] if row["set"] == name]
        assert sorted(row["kind"] for row in damage) == ["layer", "located", "norm"]


def test_few_draws_give_a_rank_and_no_p(tables):
    row = next(r for r in tables["erasure"] if r["set"] == "seven.raw" and r["own"])
    assert (row["random_draws"], row["random_d_margin_rank"]) == (2, 1)
    assert not any(key.endswith("_p") for key in row)


def test_doses_grow_and_the_whole_set_is_the_diagonal(tables):
    own = [r for r in tables["dose"] if r["set"] == "seven.raw" and r["kind"] == "located"]
    assert [(row["fraction"], row["neurons"]) for row in own] == [(0.5, 2), (1.0, 5)]
    whole = next(r for r in tables["erasure"] if r["set"] == "seven.raw" and r["own"])
    assert own[-1]["d_margin"] == whole["d_margin"]


def test_the_verdict_on_planted_sets(tables):
    found = {(row["set"], row["claim"]): row["verdict"] for row in tables["verdict"]}
    assert found["seven.raw", "cohesive"] == "supported"
    assert found["seven.raw", "relevant"] == "supported"
    assert found["seven.raw", "separable"] == "not supported"
    assert found["seven.contrast", "separable"] == "supported"
    assert found["seven.raw", "damaging"] == "not supported"
    assert any("demo preset" in row["sentence"] for row in tables["summary"])


def test_tables_are_parquet_too(folder, tables):
    assert len(read_rows(folder / "erasure.parquet")) == len(tables["erasure"])
    items = read_rows(folder / "items.parquet")
    assert {row["erased"] for row in items} == {None, *(row["set"] for row in tables["sets"])}


def test_run_json_tells_what_was_done(folder, model, config):
    run = read_json(folder / "run.json")
    assert run["fingerprint"] == model.fingerprint
    assert run["config"]["thresholds"]["cohesive"] == config.thresholds.cohesive
    assert run["batch_size"] > 0
    assert {"locate", "erase", "control", "collateral"} <= set(run["wall_seconds"])
    assert not folder.with_name("out.partial").exists()


def contents(folder):
    """Every file but run.json, which holds times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


@pytest.mark.parametrize("stop", [1, 12, 31])
def test_an_interrupted_run_resumes_to_the_same_bits(
    model, config, folder, tmp_path, monkeypatch, stop
):
    piece, made = Partial.piece, []

    def until(self, key, make):
        if len(made) == stop:
            raise KeyboardInterrupt
        made.append(key)
        return piece(self, key, make)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Partial, "piece", until)
        run_map(model, config, tmp_path / "out")
    assert not (tmp_path / "out").exists()

    def counted(self, key, make):
        if not self.has(key):
            made.append(key)
        return piece(self, key, make)

    monkeypatch.setattr(Partial, "piece", counted)
    run_map(model, config, tmp_path / "out", resume=True)
    assert len(made) == len(set(made)), "no piece is done twice"
    assert contents(tmp_path / "out") == contents(folder)
    assert not (tmp_path / "out.partial").exists()


KILLED = """
import os, signal, sys
import torch
from pathlib import Path
from brodmann.experiments import run_map
from brodmann.experiments.partial import Partial
from tests.experiments.maps import planted, small_config

torch.set_num_threads(int(sys.argv[2]))
piece = Partial.piece
def kill(self, key, make):
    if key.startswith("erase/kay"):
        os.kill(os.getpid(), signal.SIGKILL)
    return piece(self, key, make)
Partial.piece = kill
run_map(planted(), small_config(Path(sys.argv[1]) / "data"), Path(sys.argv[1]) / "out")
"""


def test_a_killed_run_resumes_to_the_same_bits(model, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(torch.get_num_threads())]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (tmp_path / "out.partial").exists()
    config = small_config(tmp_path / "data")
    run_map(model, config, tmp_path / "out", resume=True)
    run_map(model, config, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_resume_refuses_other_work(model, config, tmp_path):
    Partial(tmp_path / "out.partial", {"seed": 5, "model": "x"}, resume=False, plan={})
    with pytest.raises(InputError, match=r"it differs in .*seed"):
        run_map(model, config, tmp_path / "out", resume=True)


def test_an_unfinished_run_is_discarded_only_when_asked_for(tmp_path):
    old = Partial(tmp_path / "p", {"seed": 5}, resume=False, plan={})
    old.piece("a/b", lambda: 1)
    with pytest.raises(InputError, match="--resume to go on"):
        Partial(tmp_path / "p", {"seed": 5}, resume=False, plan={})
    assert Partial(tmp_path / "p", {"seed": 5}, resume=True, plan={}).has("a/b")
    fresh = Partial(tmp_path / "p", {"seed": 5}, resume=False, overwrite=True, plan={})
    assert not fresh.has("a/b")


def test_so_many_capabilities_get_so_many_draws():
    full = preset("full")
    assert with_enough_draws(full, 4).draws == 99
    assert with_enough_draws(full, 8).draws == 160
    assert with_enough_draws(preset("demo"), 8).draws == preset("demo").draws


def test_a_folder_of_other_files_is_not_discarded(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="other files"):
        Partial(tmp_path / "p", {}, resume=False, plan={})
    assert (tmp_path / "p" / "thesis.tex").exists()


def test_a_taken_folder_is_refused_before_any_work(model, config, folder, monkeypatch):
    monkeypatch.setattr("brodmann.experiments.map.load_data", lambda config: pytest.fail("worked"))
    with pytest.raises(InputError, match="--overwrite"):
        run_map(model, config, folder)


def test_resume_keeps_the_size_of_batches(tmp_path):
    Partial(tmp_path / "p", {"seed": 5}, resume=False, plan={"batch_size": 7})
    again = Partial(tmp_path / "p", {"seed": 5}, resume=True, plan={"batch_size": 9})
    assert again.plan == {"batch_size": 7}


def test_values_are_the_same_fresh_and_kept(tmp_path):
    partial = Partial(tmp_path / "p", {}, resume=False, plan={})
    fresh = partial.piece("a/b", lambda: {"x": (1, float("nan"), 0.1)})
    kept = partial.piece("a/b", lambda: pytest.fail("made twice"))
    assert fresh == kept == {"x": [1, None, 0.1]}


def test_presets_differ_as_the_issue_says():
    demo, full = preset("demo"), preset("full")
    assert (demo.examples, demo.test_items, demo.draws) == (64, 32, 3)
    assert demo.erased_answers == ("free",)
    assert full.draws >= 99
    assert full.erased_answers == ("free", "matched")
    with pytest.raises(InputError, match="demo"):
        preset("dmeo")
    with pytest.raises(InputError, match="draws"):
        preset("demo", draws=-1)


def test_a_map_by_integrated_gradients_runs_to_its_end(tmp_path):
    one = {"method": "cnl", "answers": ("free",), "erased_answers": ("free",)}
    out = run_map(planted(), small_config(tmp_path / "data", **one), tmp_path / "map")
    assert read_json(out / "run.json")["config"]["method"] == "cnl"
    scores = NeuronScores.load(next((out / "scores").rglob("scores.safetensors")).parent)
    assert scores.provenance["path"] == "staircase"
