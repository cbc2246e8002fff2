"""What training changes beside the weights is as it was afterwards."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import TrainerCallback

from brodmann.data import Example
from brodmann.tuning.answers import training_rows
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.training import train
from tests.tiny.opened import opened
from tests.tuning.neurons import fresh

EXAMPLES = [Example(f"{a} + {b} =", str(a + b)) for a in (1, 12, 305) for b in (2, 40, 700, 8)]
FAST = TrainSettings(lr=1e-2, epochs=1, batch_size=4)


def lora(model):
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=["up_proj", "down_proj"])
    return get_peft_model(model.hf, config)


class Stopped(TrainerCallback):
    """Ends a run behind its first step."""

    def on_step_end(self, args, state, control, **_):
        raise KeyboardInterrupt


def test_the_model_is_left_as_it_was(tmp_path):
    model = opened("llama")
    trained = lora(model)
    frozen = {name: p.clone() for name, p in trained.named_parameters() if not p.requires_grad}
    random = torch.random.get_rng_state()
    settings = replace(FAST, weight_decay=0.1, gradient_checkpointing=True)
    train(model, trained, training_rows(model, EXAMPLES), settings, tmp_path)
    assert not trained.training
    assert all(p.grad is None for p in trained.parameters())
    assert model.hf.config.use_cache
    assert not any(getattr(m, "gradient_checkpointing", False) for m in trained.modules())
    assert random.equal(torch.random.get_rng_state())
    now = dict(trained.named_parameters())
    assert all(now[name].equal(weight) for name, weight in frozen.items())


def checkpointing_of(hf):
    names = ("gradient_checkpointing", "_gradient_checkpointing_func")
    return [getattr(module, name, None) for module in hf.modules() for name in names]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_what_the_caller_had_switched_on_is_on_again(tmp_path, asked, fails):
    model = fresh("llama")
    embeddings = model.hf.get_input_embeddings()
    model.hf.gradient_checkpointing_enable({"use_reentrant": True}, every_n_layers=2)
    before, n_hooks = checkpointing_of(model.hf), len(embeddings._forward_hooks)
    assert n_hooks == 1
    settings = replace(FAST, max_steps=2, gradient_checkpointing=asked)
    rows, ended = training_rows(model, EXAMPLES), [Stopped()] if fails else []
    for parameter in embeddings.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
        train(model, model.hf, rows, settings, tmp_path, callbacks=ended)
    assert checkpointing_of(model.hf) == before
    assert embeddings(torch.tensor([1])).requires_grad
    model.hf.disable_input_require_grads()  # knows all hooks there are
    assert not embeddings._forward_hooks


def test_a_setup_that_fails_half_way_leaves_the_model_as_it_was(tmp_path, monkeypatch):
    def fails():
        raise NotImplementedError("no embeddings")

    model = fresh("llama")
    monkeypatch.setattr(model.hf, "enable_input_require_grads", fails)
    before = checkpointing_of(model.hf)
    rows, settings = training_rows(model, EXAMPLES), replace(FAST, gradient_checkpointing=True)
    with pytest.raises(NotImplementedError):
        train(model, model.hf, rows, settings, tmp_path)
    assert checkpointing_of(model.hf) == before
