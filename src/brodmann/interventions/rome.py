"""ROME: write one fact into one down projection, by a change of rank one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.data.facts import Fact
from brodmann.errors import InputError, ModelError
from brodmann.interventions.editable import check_editable, down_weight, is_transposed
from brodmann.interventions.key_covariance import KeyCovariance, check_layers
from brodmann.interventions.rome_prefixes import sampled_prefixes
from brodmann.interventions.rome_rows import read_in_batches, rows_of
from brodmann.interventions.rome_value import ValueSearch
from brodmann.models.language_model import LanguageModel
from brodmann.storage import read_json, read_tensors, write_json, write_tensors

KIND = "brodmann rome edit 1"


@dataclass(frozen=True, eq=False)
class RomeEdit:
    """A change of rank one: W + shift direction', which makes W k + b + shift of W k + b.

    Attributes:
        layer: whose down projection.
        key: k, its input at the subject's last token, mean over prefixes [n].
        direction: C^-1 k / (k' C^-1 k) [n].
        value: v* = W k + b + shift [D].
        shift: v* - (W k + b) [D].
        losses: NLL and weighted divergence at each step of the search for v*.
        provenance: model, fingerprint, fact, target, settings, prefixes, covariance; and
            ``error``, the length of W' k + b - v* over that of v*, where W' is the edited weight
            as the model's dtype holds it (1e-7 in float32; 0.001 or so in bfloat16).
    """

    layer: int
    key: Float[Tensor, "n"]
    direction: Float[Tensor, "n"]
    value: Float[Tensor, "D"]
    shift: Float[Tensor, "D"]
    losses: tuple[float, ...]
    provenance: Mapping[str, Any]

    def save(self, folder: Path | str) -> None:
        """Write ``edit.safetensors`` and ``edit.json`` into a folder."""
        tensors = {name: getattr(self, name) for name in ("key", "direction", "value", "shift")}
        write_tensors(Path(folder) / "edit.safetensors", tensors, {"kind": KIND})
        summary = {"kind": KIND, "layer": self.layer, "losses": self.losses}
        write_json(Path(folder) / "edit.json", summary | {"provenance": dict(self.provenance)})

    @classmethod
    def load(cls, folder: Path | str) -> "RomeEdit":
        """Read what :meth:`save` wrote.

        Raises:
            InputError: a file is missing, corrupt or something else.
        """
        tensors, metadata = read_tensors(Path(folder) / "edit.safetensors")
        about = read_json(Path(folder) / "edit.json")
        if metadata.get("kind") != KIND or about.get("kind") != KIND:
            raise InputError(f"Expected a {KIND} in {folder}; it holds something else.")
        losses = tuple(about["losses"])
        return cls(**tensors, layer=about["layer"], losses=losses, provenance=about["provenance"])


def rome_edit(
    model: LanguageModel,
    fact: Fact,
    target: str,
    layer: int,
    covariance: KeyCovariance,
    *,
    steps: int = 25,
    lr: int | float = 0.5,
    kl: int | float = 0.0625,
    weight_decay: int | float = 0.5,
    clamp: int | float = 4.0,
    prefixes: Sequence[str] | None = None,
    seed: int = 0,
) -> RomeEdit:
    """Find the change that makes the model answer a fact's prompt with the target.

    W' = W + (v* - W k - b) (C^-1 k)' / ((C^-1 k)' k)   (Meng et al. 2022, Eq. 2), where k is the
    down projection's input at the subject's last token, C = E[k k'] over a corpus, and v* is what
    W' k + b becomes. k is averaged over prefixes in both of its places (R-ROME: Gupta et al.
    2024); the peers' code averages it in one, which makes some edits break the model. v* = v +
    shift, with v = W k + b at that same k (the peers take v of the prompt without a prefix), and
    shift minimises, by Adam,

        mean over prefixes of NLL(target, mean over its tokens, teacher-forced)
        + kl * KL(edited || unedited) behind "{subject} is a"
        + weight_decay * |shift| / |v|^2

    under |shift| <= clamp |v|, and stops where the first two are below 0.05. The shift acts
    before post-norm and multiplier. All of it is computed in float32 (float64 for float64 models)
    whatever the model's dtype, beside the forward passes. The model is not changed.

    Args:
        model: the model, unedited.
        fact: what to edit; its prompt holds the subject.
        target: the new answer, without leading white space.
        layer: whose down projection changes.
        covariance: of this model and layer, as :func:`key_covariances` gives it.
        steps: evaluations of the loss, at most.
        lr: Adam's learning rate.
        kl: factor of the divergence.
        weight_decay: factor of the shift's length.
        clamp: the longest shift, as a multiple of |v|.
        prefixes: texts in front of the prompt, the empty one among them; None draws them by
            :func:`sampled_prefixes` with ``seed``.
        seed: decides the prefixes.

    Raises:
        InputError: an empty target, or the true answer; a layer out of range; a setting.
        DataError: the subject is not in the prompt; prompt and target do not tokenise apart.
        MismatchError: a covariance of another model or layer.
        ModelError: a mixture of experts, packed or offloaded weights, NaN.
    """
    search = ValueSearch(steps, lr, kl, weight_decay, clamp)
    _check(fact, target, search, prefixes)
    check_layers(model, [layer])
    check_editable(model)
    covariance.check_belongs(model, layer)
    if prefixes is None:
        prefixes = sampled_prefixes(model, seed=seed)
    prefixes = [prefix for prefix in prefixes if fact.subject not in prefix]
    rows, essence = rows_of(model, fact, target, prefixes)
    batches = read_in_batches(model, [*rows, essence], layer)
    key = _mean_key(model, batches)
    value = _finite(model.sites[layer].write(key[None], None)[0].detach(), layer)
    shift, losses = search.shift(model, batches, value)
    solved = covariance.solve(key).to(key)
    direction = solved / (solved @ key)
    about = {
        "model": model.name, "fingerprint": model.fingerprint, "method": "rome", "fact": fact.id,
        "subject": fact.subject, "prompt": fact.prompt, "target": target, "steps": steps,
        "lr": lr, "kl": kl, "weight_decay": weight_decay, "clamp": clamp,
        "prefixes": list(prefixes), "shrinkage": covariance.shrinkage,
        "covariance": {**covariance.provenance, "n_tokens": covariance.n_tokens},
    }  # fmt: skip
    edit = RomeEdit(layer, key, direction, value + shift, shift, losses, about)
    return _with_error(model, edit)


def rome_edits(
    model: LanguageModel,
    facts: Sequence[Fact],
    layer: int,
    covariance: KeyCovariance,
    *,
    seed: int = 0,
    **settings: Any,
) -> Iterator[RomeEdit]:
    """Edits of several facts in turn, each from the clean model, to its ``target_new``.

    Args:
        model: the model, unedited.
        facts: what to edit.
        layer: whose down projection changes.
        covariance: of this model and layer.
        seed: decides the prefixes, which are drawn once.
        settings: as :func:`rome_edit` takes them.

    Raises:
        InputError: a fact without ``target_new``, and whatever :func:`rome_edit` refuses.
    """
    settings.setdefault("prefixes", sampled_prefixes(model, seed=seed))
    for fact in facts:
        if fact.target_new is None:
            raise InputError(
                f"Expected target_new in fact '{fact.id}' to edit it; it has none. Write the new "
                "answer into its row."
            )
        yield rome_edit(model, fact, fact.target_new, layer, covariance, **settings)


def edited_weight(model: LanguageModel, edit: RomeEdit) -> Tensor:
    """The edited down projection, in the layout and dtype of the model's own."""
    site = model.sites[edit.layer]
    weight = down_weight(site).detach()
    change = torch.outer(edit.shift, edit.direction).to(weight.device)
    change = change.T if is_transposed(site) else change
    return (weight.to(change.dtype) + change).to(weight.dtype)


def _mean_key(model: LanguageModel, batches: Sequence[Any]) -> Float[Tensor, "n"]:
    keys = [
        key.to(model.score_dtype)
        for batch in batches
        for row, key in zip(batch.rows, batch.keys, strict=True)
        if row.targets
    ]
    return torch.stack(keys).mean(0)


def _with_error(model: LanguageModel, edit: RomeEdit) -> RomeEdit:
    """The edit, with what rounding to the model's dtype makes of W' k + b = v*."""
    site = model.sites[edit.layer]
    weight = edited_weight(model, edit).to(edit.key)
    written = edit.key @ weight if is_transposed(site) else weight @ edit.key
    before = model.sites[edit.layer].write(torch.zeros_like(edit.key)[None], None)[0]  # the bias
    error = float((written + before - edit.value).norm() / edit.value.norm())
    about = dict(edit.provenance) | {"error": error}
    return RomeEdit(
        edit.layer, edit.key, edit.direction, edit.value, edit.shift, edit.losses, about
    )


def _finite(value: Tensor, layer: int) -> Tensor:
    if not value.isfinite().all():
        raise ModelError(
            f"Expected finite activations of the prompt; layer {layer} gives NaN or infinity. "
            "Check the model's weights, or load it in float32 or bfloat16."
        )
    return value


def _check(fact: Fact, target: str, search: ValueSearch, prefixes: Sequence[str] | None) -> None:
    if not target.strip():
        raise InputError(
            f"Expected a target with characters in it for '{fact.id}'; got {target!r}."
        )
    if target.strip() == fact.answer.strip():
        raise InputError(
            f"Expected a target that differs from the answer of fact '{fact.id}'; both are "
            f"'{target}'. Give another target."
        )
    if prefixes is not None and not any(fact.subject not in prefix for prefix in prefixes):
        raise InputError(
            "Expected at least one prefix without the subject in it; the empty one '' will do."
        )
    for name, value, least in (
        ("steps", search.steps, 1), ("lr", search.lr, 0), ("kl", search.kl, 0),
        ("weight_decay", search.weight_decay, 0), ("clamp", search.clamp, 0),
    ):  # fmt: skip
        if not least <= value < float("inf"):
            raise InputError(f"Expected {name} of {least} or more; got {value}.")
