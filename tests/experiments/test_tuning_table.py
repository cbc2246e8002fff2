"""The table of tuning methods on a tiny model: its rows, and that it goes on where it was."""

import pytest

from brodmann.errors import InputError, UnknownNameError
from brodmann.experiments.tuning_table import TuningTableConfig, run
from tests.tiny import tiny_model


@pytest.fixture
def config(tmp_path):
    hf, tokenizer = tiny_model("llama")
    for part in (hf, tokenizer):
        part.save_pretrained(tmp_path / "model")
    return TuningTableConfig(
        model=str(tmp_path / "model"),
        fit="arithmetic/add:template=plain,max=20",
        others=("arithmetic/sub:template=plain,max=20",),
        methods=("neurons", "without:erase_then_tune_rest", "lora"),
        sigma=1,
        n_located=8,
        n_train=16,
        n_test=4,
        seeds=(0, 1),
        steps=2,
        rates={"default": (1e-3, 1e-2)},
    )


def test_every_method_and_seed_is_measured_on_every_spec(config, tmp_path):
    table = run(config, tmp_path / "pieces")
    rows = table.rows
    assert len(rows) == 3 * 2 * 2
    assert {row["measures"] for row in rows} == {"fit", "generalisation"}
    by = {(row["method"], row["seed"]): row for row in rows if row["measures"] == "fit"}
    assert set(by) == {(method, seed) for method in config.methods for seed in (0, 1)}
    assert len({row["base"] for row in by.values()}) == 1
    neurons, rest = by["neurons", 0], by["without:erase_then_tune_rest", 0]
    assert 0 < neurons["trained_parameters"] < rest["trained_parameters"]
    assert rest["neurons"] == neurons["neurons"]
    assert all(row["lr"] in (1e-3, 1e-2) for row in rows)
    again = run(config, tmp_path / "pieces", resume=True)
    assert again == table
    summed = {(row["method"], row["data"]): row for row in table.summary}
    assert len(summed) == 3 * 3
    one = summed["lora", config.fit]
    tuned = [row["tuned"] for row in rows if row["method"] == "lora" and row["measures"] == "fit"]
    assert one["tuned"] == sum(tuned) / 2
    assert (one["tuned_lowest"], one["tuned_highest"]) == (min(tuned), max(tuned))
    assert one["change"] == pytest.approx(one["tuned"] - one["base"])
    assert one["change_low"] <= one["change"] <= one["change_high"]
    assert summed["lora", "all others"]["n"] == 4


def test_an_unknown_method_is_refused(config, tmp_path):
    from dataclasses import replace

    with pytest.raises(UnknownNameError, match="lora"):
        run(replace(config, methods=("lorra",)), tmp_path / "pieces")
    run(replace(config, methods=("lora",), seeds=(0,)), tmp_path / "other")
    with pytest.raises(InputError, match="--resume"):
        run(replace(config, methods=("lora",), seeds=(0,)), tmp_path / "other")
