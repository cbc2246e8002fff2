"""Prove that an architecture row is true of a model: one short forward pass and one per layer.

The model must do what the row says it does: the captured z must reproduce what the MLP writes;
zeroing half of the neurons must change the layer's output exactly as zeroing their columns of
W_down does, through the multiplier or post-norm that the row names; the logits must be the
unembedding of the final norm's output with the row's scale and soft-cap.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from brodmann.errors import ModelError
from brodmann.models.activations import (
    Activations,
    Edit,
    LayerCall,
    captured,
    edited,
    hidden_states,
    input_captured,
    layer_calls,
)
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module, logits_from_normed
from brodmann.models.sites import DenseSite, NeuronSite

_N_TOKENS = 4
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.06, torch.float16: 0.02}

_PACKED_TOLERANCE = 0.06
"""Kernels for packed weights round activations too, which dequantised weights do not show."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One line of the self-check.

    Attributes:
        check: what was compared.
        error: the largest difference over the largest expected value.
        limit: the error that is still right.
    """

    check: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit (NaN is not)."""
        return self.error <= self.limit


@dataclass(frozen=True, slots=True)
class Verification:
    """The rows of a self-check, in the order they ran."""

    rows: tuple[CheckRow, ...]

    @property
    def passed(self) -> bool:
        """Whether every row passed."""
        return all(row.passed for row in self.rows)


def check_model(model: LanguageModel) -> None:
    """Raise unless the architecture row is true of the model.

    Raises:
        ModelError: the first check that failed, with its numbers; or logits that are not finite.
    """
    for row in _row_checks(model):
        if not row.passed:
            raise ModelError(
                f"'{model.name}' is not what architecture row '{model.architecture.name}' says: "
                f"{row.check} (relative error {row.error:.2g}, limit {row.limit:.0e}). Its weights "
                "may hold NaN, or it needs a row of its own (CONTRIBUTING, 'Add an architecture')."
            )


def verify(model: LanguageModel) -> Verification:
    """The self-check in full, and that observing or leaving neurons alone changes no logit.

    Hooked logits equal plain ones bit for bit; where experts run through our implementation,
    within 1e-5 (in float32; within the type's rounding in 16 bits).
    """
    experts = any(not isinstance(site, DenseSite) for site in model.sites)
    exact = model.dtype in (torch.float32, torch.float64)
    limit = (1e-5 if exact else _tolerance(model.dtype)) if experts else 0.0
    before = _logits(model)
    with captured(model, torch.arange(_N_TOKENS), written=True):
        observed = _logits(model)
    ones = {site.layer: Edit(torch.ones(site.n_neurons)) for site in model.sites}
    with edited(model, ones):
        unchanged = _logits(model)
    hooked = (
        CheckRow("logits while observing equal plain ones", _difference(observed, before), limit),
        CheckRow("logits with every neuron x 1 equal plain ones",
                 _difference(unchanged, before), limit),
        CheckRow("logits afterwards equal those before", _difference(_logits(model), before), 0.0),
    )  # fmt: skip
    return Verification((*_row_checks(model), *hooked))


@torch.no_grad()
def _row_checks(model: LanguageModel) -> Iterator[CheckRow]:
    positions = torch.arange(_N_TOKENS)
    norm = final_norm_module(model)
    with (
        layer_calls(model) as calls,
        captured(model, positions, written=True) as seen,
        input_captured(norm, positions) as norm_inputs,
        input_captured(model.head, positions) as normed,
    ):
        logits = _logits(model)
    finite = bool(torch.isfinite(logits).all())
    yield CheckRow("logits are finite numbers", 0.0 if finite else float("nan"), 0.0)
    limit = max(_tolerance(model.dtype), _tolerance(logits.dtype))
    if any(site.quantised for site in model.sites):
        limit = max(limit, _PACKED_TOLERANCE)
    for site, call in zip(model.sites, calls, strict=True):
        yield from _layer_checks(model, site, call, seen[site.layer], limit)
    head_input = normed[0].reshape(_N_TOKENS, -1)
    yield CheckRow(
        "the unembedding of the final norm gives the logits",
        _difference(logits_from_normed(model, head_input), logits[0]),
        limit,
    )
    last = calls[-1].output
    if last is None or not norm_inputs:
        raise ModelError(f"'{model.name}': the final norm or the last layer did not run.")
    yield CheckRow(
        "the last layer's output is the final norm's input",
        _difference(norm_inputs[0], last.reshape(_N_TOKENS, -1)),
        limit,
    )


def _layer_checks(
    model: LanguageModel, site: NeuronSite, call: LayerCall, seen: Activations, limit: float
) -> Iterator[CheckRow]:
    wide = model.score_dtype
    assert seen.z is not None and seen.written is not None and call.output is not None
    z, written = seen.z.to(wide), seen.written.to(wide)
    yield CheckRow(
        f"layer {site.layer}: down(z) is what the MLP writes",
        _difference(site.write(z, seen.routing), written),
        limit,
    )
    keep = torch.arange(site.n_neurons) % 2 == 0
    with edited(model, {site.layer: Edit(keep.float())}):
        edited_output = hidden_states(site.layer_module(*call.args, **call.kwargs))
    change = (edited_output - call.output).reshape(_N_TOKENS, -1).to(wide)
    without = site.write(z * keep.to(z.device), seen.routing)
    expected = _added(site, without, model.dtype) - _added(site, written, model.dtype)
    # Rounding of the residual stream, not of the change, bounds what can be seen of the change.
    scale = call.output.abs().max().to(wide) * _tolerance(model.dtype) * 0.1
    yield CheckRow(
        f"layer {site.layer}: zeroing neurons equals zeroing their columns",
        _difference(change, expected, floor=float(scale) / limit),
        limit,
    )


def _added(site: NeuronSite, written: Tensor, dtype: torch.dtype) -> Tensor:
    """What reaches the residual stream of what the MLP writes."""
    if site.post_norm is not None:
        written = site.post_norm(written.to(dtype)[None])[0].to(written.dtype)
    return written * site.multiplier


@torch.no_grad()
def _logits(model: LanguageModel) -> Tensor:
    vocabulary = int(model.hf.config.get_text_config().vocab_size)
    ids = torch.tensor([[3, 7, 11, 5]], device=model.device) % vocabulary
    return model.hf(input_ids=ids, use_cache=False).logits


def _tolerance(dtype: torch.dtype) -> float:
    return _TOLERANCE.get(dtype, 0.06)


def _difference(given: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    given, expected = given.detach(), expected.detach().to(given.device)
    if torch.equal(given, expected):
        return 0.0
    scale = max(float(expected.abs().max()), floor)
    return float((given - expected).abs().max()) / scale if scale else float("inf")
