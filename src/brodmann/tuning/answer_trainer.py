"""`AnswerTrainer`: the Trainer of transformers with our loss, order of rows and checkpoints."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from brodmann.models.batches import accepts, plan_batches
from brodmann.storage import read_tensors, write_tensors
from brodmann.tuning.answers import IGNORED, Row, blank_row, collated
from brodmann.tuning.best_weights import BestWeights
from brodmann.tuning.trained_weights import put_back, trained_weights

ExtraLoss = Callable[[nn.Module], Float[Tensor, ""]]
"""The trained module -> what is added to the loss of each step."""

_TRAINED, _BEST = "trained.safetensors", "best.safetensors"


class RowsAndBlank(Dataset[Row]):
    """Rows, and behind the last of them one that teaches nothing."""

    def __init__(self, rows: Sequence[Row], pad_id: int) -> None:
        self._rows, self._blank = rows, blank_row(pad_id)

    def __len__(self) -> int:
        """How many rows there are, without the blank one."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """Return one row."""
        return self._blank if index == len(self._rows) else self._rows[index]


class EpochOrder(Sampler[int]):
    """A new order of rows for each epoch, from the seed and the number of rows alone.

    Args:
        n_rows: how many rows there are.
        fill: batches of several processes together have so many rows; blank ones fill the last,
            in place of the repeated rows that accelerate would take.
        seed: any number.
    """

    def __init__(self, n_rows: int, fill: int, seed: int) -> None:
        self.n_rows, self.fill, self.seed = n_rows, fill, seed
        self.epoch = 0

    def __len__(self) -> int:
        """How many rows an epoch has, blank ones included."""
        return self.n_rows + -self.n_rows % self.fill

    def __iter__(self) -> Iterator[int]:
        """Yield the rows' numbers."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.n_rows)
        yield from order.tolist()
        yield from [self.n_rows] * (len(self) - self.n_rows)


class _ToldEpoch(TrainerCallback):
    """Tells the order which epoch it is; resumed loaders do not hand it on."""

    def __init__(self, order: EpochOrder, steps_of_epoch: int) -> None:
        self._order, self._steps_of_epoch = order, steps_of_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._order.epoch = state.global_step // self._steps_of_epoch


class AnswerTrainer(Trainer):
    """Trains any parameters that take gradients, on the labelled tokens of rows.

    The loss of a step is the mean over all labelled tokens of its batches, in all processes.
    A checkpoint keeps the trained parameters alone.

    Args:
        trained: a Hugging Face model, with or without an adapter.
        args: the Trainer's arguments.
        rows: what to train on.
        order: which row comes when.
        steps_of_epoch: steps of the optimiser in an epoch.
        eval_rows: what to evaluate on; may be empty.
        pad_id: what stands on padding.
        best: keeps the best weights; None keeps none.
        callbacks: more of them.
        extra_loss: what is added to the loss.
    """

    def __init__(
        self,
        trained: nn.Module,
        args: TrainingArguments,
        rows: Sequence[Row],
        order: EpochOrder,
        *,
        steps_of_epoch: int,
        eval_rows: Sequence[Row],
        pad_id: int,
        best: BestWeights | None,
        callbacks: Sequence[TrainerCallback],
        extra_loss: ExtraLoss | None,
    ) -> None:
        self._order, self._extra_loss, self._best = order, extra_loss, best
        self._eval_rows, self._collated = eval_rows, partial(collated, pad_id=pad_id)
        self._pad_id = pad_id
        self._chooses_positions = accepts(trained, "logits_to_keep")
        own = [_ToldEpoch(order, steps_of_epoch), *([best] if best is not None else [])]
        super().__init__(
            model=trained,
            args=args,
            data_collator=self._collated,
            train_dataset=RowsAndBlank(rows, pad_id),
            eval_dataset=RowsAndBlank(eval_rows, pad_id) if eval_rows else None,
            callbacks=[*own, *callbacks],
        )
        # Our loss is divided by the labelled tokens of the whole step, which the Trainer counts
        # (over batches and processes) for losses that it believes to take that number.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, and have it shard on a CPU too where the launcher asks for FSDP2.

        accelerate falls back to DDP there without a word.
        """
        super().create_accelerator_and_postprocess()
        plugin = FullyShardedDataParallelPlugin() if _asks_for_fsdp() else None
        state = self.accelerator.state
        if plugin is not None and state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, plugin
            self.is_fsdp_enabled = True

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the part of the step's loss that a batch has."""
        n_tokens = (inputs["labels"] != IGNORED).sum()
        if num_items_in_batch is not None:  # gradients are averaged over processes
            n_tokens = num_items_in_batch / self.accelerator.num_processes
        loss = self._summed_loss(model, inputs) / n_tokens
        if self._extra_loss is not None:
            module: Any = self.model
            loss = loss + self._extra_loss(module) / self.current_gradient_accumulation_steps
        return (loss, None) if return_outputs else loss

    def _summed_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Sum -log P over the labelled tokens; logits are computed only where one has a label."""
        batch = {name: value for name, value in inputs.items() if name != "labels"}
        labels = inputs["labels"]
        kept = (labels[:, 1:] != IGNORED).any(0).nonzero().flatten()
        if not len(kept):  # blank rows alone: still a part of the graph
            kept = torch.zeros(1, dtype=torch.long, device=labels.device)
        if self._chooses_positions:
            logits = model(**batch, logits_to_keep=kept).logits
        else:
            logits = model(**batch).logits[:, kept]
        return _negative_log_likelihood(logits, labels[:, kept + 1])

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure the mean loss over all labelled tokens of the rows to evaluate on."""
        module: Any = self.model
        module.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for rows in self._my_eval_batches():
            batch = {n: value.to(self.args.device) for n, value in self._collated(rows).items()}
            with torch.no_grad():
                sums[0] += self._summed_loss(module, batch)
            sums[1] += (batch["labels"] != IGNORED).sum()
        total: Any = self.accelerator.reduce(sums, "sum")
        metrics = {f"{metric_key_prefix}_loss": float(total[0] / total[1])}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _my_eval_batches(self) -> list[list[Row]]:
        """This process's batches; as many as every other's, which FSDP waits for."""
        lengths = [len(row["input_ids"]) for row in self._eval_rows]
        plan = plan_batches(lengths, self.args.per_device_eval_batch_size)
        batches = [[self._eval_rows[index] for index in part] for part in plan]
        count, number = self.accelerator.num_processes, self.accelerator.process_index
        blank = [blank_row(self._pad_id)]
        return [*batches, *[blank] * (-len(batches) % count)][number::count]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the trained parameters, and the best ones so far, into a checkpoint's folder."""
        folder = Path(output_dir or str(self.args.output_dir))
        module: Any = self.model
        weights = trained_weights(module)  # all processes together
        if not self.args.should_save:
            return
        write_tensors(folder / _TRAINED, weights)
        if self._best is not None and self._best.weights is not None:
            write_tensors(folder / _BEST, self._best.weights)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        module: Any = model or self.model
        put_back(module, read_tensors(Path(resume_from_checkpoint) / _TRAINED)[0])
        best = Path(resume_from_checkpoint) / _BEST
        if self._best is not None and best.exists():
            self._best.weights = read_tensors(best)[0]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._order


def _asks_for_fsdp() -> bool:
    asked = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    return asked and os.environ.get("FSDP_VERSION") == "2"


def _negative_log_likelihood(
    logits: Float[Tensor, "B k V"], labels: Int[Tensor, "B k"]
) -> Float[Tensor, ""]:
    precise = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(
        precise.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
