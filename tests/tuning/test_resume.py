"""A killed run goes on to the same bits, and only where it is the same run."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import TrainerCallback

from brodmann.data import Example
from brodmann.errors import InputError, MismatchError
from brodmann.tuning.answers import training_rows
from brodmann.tuning.frozen_neurons import prepare_without
from brodmann.tuning.prepared import prepare_full, prepare_neurons
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.trained_weights import trained_weights
from brodmann.tuning.training import train
from tests.tiny.opened import opened
from tests.tuning.neurons import fresh, some_neurons

EXAMPLES = [Example(f"{a} + {b} =", str(a + b)) for a in (1, 12, 305) for b in (2, 40, 700, 8)]
FAST = TrainSettings(lr=1e-2, epochs=1, batch_size=4)


def lora(model, dropout=0.0):
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=["up_proj", "down_proj"], lora_dropout=dropout)
    return get_peft_model(model.hf, config)


class Killed(TrainerCallback):
    """Ends a run behind a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("killed_at", [3, 5])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, killed_at):
    settings = replace(FAST, epochs=3, batch_size=2, accumulate=2, save_every=2, eval_every=2)
    settings = replace(settings, schedule="linear", warmup_ratio=0.3, patience=5)

    def run(folder, settings, callbacks=()):
        model = opened("llama")
        trained, rows = lora(model, dropout=0.3), training_rows(model, EXAMPLES)
        result = train(
            model, trained, rows[:8], settings, folder, eval_rows=rows[8:], callbacks=callbacks
        )
        return result, trained_weights(trained)

    whole, expected = run(tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", settings, [Killed(killed_at)])
    resume = replace(settings, resume=True)
    for _ in range(2):  # the second time there is nothing left to do
        resumed, weights = run(tmp_path / "killed", resume)
        assert resumed.history == whole.history
        assert (resumed.steps, resumed.best_step) == (whole.steps, whole.best_step)
        assert all(weights[name].equal(expected[name]) for name in expected)
    with pytest.raises(InputError, match="resume"):
        run(tmp_path / "killed", settings)
    with pytest.raises(MismatchError, match="other are: lr"):
        run(tmp_path / "killed", replace(resume, lr=1e-3))


def killed_then_resumed(folder, prepare, other):
    """Kill a run of what ``prepare`` makes of a model; go on with what ``other`` makes of one."""
    settings = replace(FAST, batch_size=2, save_every=1)

    def run(make, settings, callbacks=()):
        model = fresh("llama")
        prepared = make(model)
        callbacks = [*prepared.callbacks, *callbacks]
        rows = training_rows(model, EXAMPLES)
        return train(model, prepared.trained, rows, settings, folder, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        run(prepare, settings, [Killed(2)])
    return run(other, replace(settings, resume=True))


def tunes(start):
    return lambda model: prepare_neurons(model, some_neurons(model, start))


def leaves_out(start, mode="freeze_located"):
    return lambda model: prepare_without(model, some_neurons(model, start), mode)


def retyped(model):
    prepared = tunes(1)(model)
    prepared.trained.to(torch.bfloat16)
    return prepared


@pytest.mark.parametrize(
    ("prepare", "other", "named"),
    [
        (tunes(1), tunes(2), "neurons"),
        (tunes(1), retyped, "trained"),
        (leaves_out(1), leaves_out(2), "frozen"),
        (leaves_out(1), leaves_out(1, "erase_then_tune_rest"), "erased"),
        (leaves_out(1), prepare_full, "frozen, erased"),
        (prepare_full, leaves_out(1), "frozen, erased"),
    ],
)
def test_a_run_with_other_neurons_of_the_same_number_is_another(tmp_path, prepare, other, named):
    with pytest.raises(MismatchError, match=rf"other are: {named}\. Write") as caught:
        killed_then_resumed(tmp_path, prepare, other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prepare", [tunes(1), leaves_out(1), prepare_full])
def test_a_run_with_the_same_neurons_goes_on(tmp_path, prepare):
    assert killed_then_resumed(tmp_path, prepare, prepare).steps == 6
