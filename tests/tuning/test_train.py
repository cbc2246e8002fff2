"""Training: the same numbers as a loop by hand, whatever the batches; stopping early."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional

from brodmann.data import Example
from brodmann.errors import DataError, InputError, RunError
from brodmann.tuning.answer_trainer import EpochOrder
from brodmann.tuning.answers import IGNORED, training_rows
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.trained_weights import trained_weights
from brodmann.tuning.training import train
from tests.tiny.opened import opened

EXAMPLES = [Example(f"{a} + {b} =", str(a + b)) for a in (1, 12, 305) for b in (2, 40, 700, 8)]
FAST = TrainSettings(lr=1e-2, epochs=1, batch_size=4)
DOUBLE = torch.float64


def lora(model, dropout=0.0):
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=["up_proj", "down_proj"], lora_dropout=dropout)
    return get_peft_model(model.hf, config)


def loss_of(hf, rows):
    """Mean over all answer tokens, each row read alone."""
    total, n_tokens = 0.0, 0
    for row in rows:
        logits = hf(torch.tensor([row["input_ids"]])).logits[0, :-1]
        labels = torch.tensor(row["labels"])[1:]
        total = total + functional.cross_entropy(
            logits, labels, ignore_index=IGNORED, reduction="sum"
        )
        n_tokens += int((labels != IGNORED).sum())
    return total / n_tokens


def by_hand(hf, rows, settings):
    """Full training with Adam, one row at a time."""
    optimiser = torch.optim.Adam(hf.parameters(), lr=settings.lr)
    losses, n = [], settings.batch_size * settings.accumulate
    order = EpochOrder(len(rows), 1, settings.seed)
    for order.epoch in range(int(settings.epochs)):
        numbers = list(order)
        for start in range(0, len(numbers), n):
            loss = loss_of(hf, [rows[i] for i in numbers[start : start + n]])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(hf.parameters(), settings.max_grad_norm)
            optimiser.step()
            losses.append(loss.item())
    return losses


def losses_of(result):
    return [row["loss"] for row in result.history]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "mixtral"])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(5, 1), (2, 3), (1, 5)])
def test_losses_and_weights_are_those_of_a_loop_by_hand(tmp_path, family, batch_size, accumulate):
    model, twin = opened(family, DOUBLE), opened(family, DOUBLE)
    for hf in (model.hf, twin.hf):
        for module in hf.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    rows = training_rows(model, EXAMPLES)
    settings = replace(FAST, epochs=2, batch_size=batch_size, accumulate=accumulate)
    result = train(model, model.hf, rows, settings, tmp_path)
    assert losses_of(result) == pytest.approx(by_hand(twin.hf, rows, settings), rel=1e-6)
    assert [row["step"] for row in result.history] == list(range(1, result.steps + 1))
    after = trained_weights(model.hf)
    for name, weight in trained_weights(twin.hf).items():
        torch.testing.assert_close(after[name], weight, rtol=1e-4, atol=1e-6)


def test_the_evaluation_is_the_mean_over_all_tokens(tmp_path):
    model = opened("llama")
    rows = training_rows(model, EXAMPLES)
    result = train(model, model.hf, rows[:8], FAST, tmp_path, eval_rows=rows[5:])
    assert [row["eval_loss"] is None for row in result.history] == [True, False]
    with torch.no_grad():
        expected = loss_of(model.hf, rows[5:]).item()
    assert result.history[-1]["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert result.best_step == 2


def test_the_extra_loss_counts_once_a_step(tmp_path):
    losses = []
    for accumulate in (1, 3):
        model = opened("llama", DOUBLE)
        rows = training_rows(model, EXAMPLES)
        settings = replace(FAST, batch_size=6 // accumulate, accumulate=accumulate)
        extra = lambda module: sum(p.square().sum() for p in module.parameters())  # noqa: E731
        result = train(model, model.hf, rows, settings, tmp_path, extra_loss=extra)
        losses.append(losses_of(result))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


class Seen:
    """The token ids that a model was given while it trained."""

    def __init__(self, hf):
        self.ids = []
        hf.get_input_embeddings().register_forward_pre_hook(self)

    def __call__(self, module, given):
        self.ids.append(given[0].tolist())


def test_the_order_of_rows_depends_on_the_seed_alone(tmp_path):
    def order(trained_of, seed):
        model = opened("llama")
        seen = Seen(model.hf)
        settings = replace(FAST, epochs=2, seed=seed)
        train(model, trained_of(model), training_rows(model, EXAMPLES), settings, tmp_path)
        return seen.ids

    full = order(lambda model: model.hf, 3)
    assert full == order(lambda model: lora(model, dropout=0.5), 3)
    assert full != order(lambda model: model.hf, 4)
    assert full[:3] != full[3:]  # another order in the second epoch


def test_blank_rows_fill_the_last_batch_of_several_processes():
    order = EpochOrder(10, 4, seed=0)
    assert len(order) == len(list(order)) == 12
    assert sorted(order) == [*range(10), 10, 10]


def test_training_stops_early_with_the_best_weights(tmp_path):
    model = opened("llama")
    rows = training_rows(model, EXAMPLES)
    settings = replace(FAST, lr=0.3, epochs=20, eval_every=1, patience=3)
    result = train(model, model.hf, rows[:8], settings, tmp_path, eval_rows=rows[8:])
    assert result.steps == result.best_step + 3 < 40
    best = min(row["eval_loss"] for row in result.history)
    assert result.history[result.best_step - 1]["eval_loss"] == best
    with torch.no_grad():
        assert loss_of(model.hf, rows[8:]).item() == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_no_backward_goes_below_the_lowest_trained_layer(tmp_path, checkpointing, kind):
    model = opened("llama")
    if kind == "lora":
        model.hf.gradient_checkpointing_enable()  # PEFT then asks the inputs for gradients
        trained = lora(model)
    else:
        trained = model.hf
    for name, parameter in trained.named_parameters():
        parameter.requires_grad_("layers.2" in name and (kind == "full" or "lora" in name))
    before = {name: p.requires_grad for name, p in trained.named_parameters()}
    reached = []

    def watch(number, output):
        if output.requires_grad:
            output.register_hook(lambda _: reached.append(number))

    for number, layer in enumerate(model.decoder.layers):
        layer.mlp.down_proj.register_forward_hook(
            lambda _, __, output, number=number: watch(number, output)
        )
    settings = replace(FAST, max_steps=2, gradient_checkpointing=checkpointing)
    train(model, trained, training_rows(model, EXAMPLES), settings, tmp_path)
    assert set(reached) == {2}
    assert before == {name: p.requires_grad for name, p in trained.named_parameters()}


def test_gradient_checkpointing_changes_no_number(tmp_path):
    results = []
    for checkpointing in (False, True):
        model = opened("llama")
        settings = replace(FAST, gradient_checkpointing=checkpointing)
        rows = training_rows(model, EXAMPLES)
        results.append(losses_of(train(model, lora(model), rows, settings, tmp_path)))
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_what_cannot_be_trained_is_refused(tmp_path):
    model = opened("llama")
    rows = training_rows(model, EXAMPLES)
    with pytest.raises(DataError, match="at least one row"):
        train(model, model.hf, [], FAST, tmp_path)
    with pytest.raises(InputError, match="Expected eval_rows"):
        train(model, model.hf, rows, replace(FAST, patience=1), tmp_path)
    with pytest.raises(InputError, match="trackers that are installed"):
        train(model, model.hf, rows, replace(FAST, report_to=("nowhere",)), tmp_path)
    with pytest.raises(RunError, match="smaller lr"):
        train(model, model.hf, rows, replace(FAST, lr=1e30, epochs=3), tmp_path)
    model.hf.requires_grad_(False)
    with pytest.raises(InputError, match="all are frozen"):
        train(model, model.hf, rows, FAST, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0), ("epochs", -1), ("batch_size", 0), ("max_steps", 0), ("patience", 0),
     ("warmup_ratio", 1), ("schedule", "up"), ("optimiser", "lion"), ("weight_decay", -1)],
)  # fmt: skip
def test_settings_say_what_they_expect(name, value):
    with pytest.raises(InputError, match=f"Expected {name} to be .*; got"):
        TrainSettings(**{name: value})


def test_nothing_is_printed(tmp_path, capfd):
    model = opened("llama")
    train(model, model.hf, training_rows(model, EXAMPLES), FAST, tmp_path)
    assert capfd.readouterr().out == ""


def test_a_dequantised_model_trains(tmp_path, smollm2):
    trained = lora(smollm2)
    try:
        before = trained_weights(trained)
        rows = training_rows(smollm2, EXAMPLES[:2])
        settings = replace(FAST, max_steps=2, batch_size=2)
        result = train(smollm2, trained, rows, settings, Path(tmp_path))
        assert losses_of(result)[1] < losses_of(result)[0]
        after = trained_weights(trained)
        assert any(not after[name].equal(before[name]) for name in before)
    finally:
        trained.unload()
