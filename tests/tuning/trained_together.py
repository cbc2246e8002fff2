"""What a user's own script would do; test_train_processes.py has a launcher start it twice.

python trained_together.py PLACE OUT: trains each of KINDS, one after the other.
"""

import sys
from contextlib import suppress
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule
from transformers import TrainerCallback

import brodmann as bm
from brodmann.launch import process_number
from brodmann.storage import write_json, write_tensors
from brodmann.tuning.answers import training_rows
from brodmann.tuning.config import neuron_tuning
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.trained_weights import trained_weights
from brodmann.tuning.training import TrainResult, train

KINDS = ("lora", "neurons", "resumed")
"""What is trained; "resumed" are neurons, killed behind step 3 and gone on with."""

PAIRS = [(layer, neuron) for layer in (1, 2) for neuron in range(0, 40, 7)]


def with_adapter(model: bm.LanguageModel, kind: str) -> nn.Module:
    """The model with an adapter of some kind."""
    torch.manual_seed(1)
    if kind == "lora":
        config = LoraConfig(r=2, target_modules=["up_proj", "down_proj"])
        return get_peft_model(model.hf, config)
    neurons = bm.NeuronSet.from_pairs(
        PAIRS, model.n_layers, model.n_neurons, provenance={"fingerprint": model.fingerprint}
    )
    return get_peft_model(model.hf, neuron_tuning(model, neurons))


class Planted(Exception):
    """Ends a run."""


class Killed(TrainerCallback):
    """Ends a run behind step 3."""

    def on_step_end(self, args: object, state: object, control: object, **_: object) -> None:
        if state.global_step == 3:
            raise Planted


def run(
    place: Path, folder: Path, kind: str, callbacks: tuple[TrainerCallback, ...] = ()
) -> tuple[TrainResult, nn.Module]:
    """Train on 18 rows (the last batch of an epoch is not full), evaluate on 5."""
    torch.set_num_threads(1)
    model = bm.load_model(place / "model", device="cpu")
    trained = with_adapter(model, kind)
    rows = training_rows(model, bm.load_examples(str(place / "rows.jsonl"), split="all"))
    settings = TrainSettings(
        lr=1e-2, epochs=2, batch_size=4, accumulate=2, schedule="linear", eval_every=2,
        patience=9, save_every=2 if kind == "resumed" else None, resume=True,
    )  # fmt: skip
    result = train(
        model, trained, rows[:-5], settings, folder, eval_rows=rows[-5:], callbacks=callbacks
    )
    return result, trained


def main() -> None:
    """Run, and save what each process saw under its number."""
    place, out = Path(sys.argv[1]), Path(sys.argv[2])
    for kind in KINDS:
        if kind == "resumed":
            with suppress(Planted):
                run(place, out / kind, kind, (Killed(),))
        result, trained = run(place, out / kind, kind)
        told = {"history": result.history, "sharded": isinstance(trained, FSDPModule)}
        weights = trained_weights(trained)
        write_tensors(out / f"{kind}.{process_number()}.safetensors", weights)
        write_json(out / f"{kind}.{process_number()}.json", told)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
