"""Run mixture-of-experts layers so that each expert's z can be read and changed.

transformers dispatches every experts module through a named function of its experts interface.
Inside :func:`expert_programs` the model uses ours; the name in the config is put back afterwards.
Results equal the built-in implementations to rounding (1e-5 in float32).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

IMPLEMENTATION = "brodmann"

ExpertProgram = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(expert, token indices [S], routing weights [S], z [S, width]) -> z [S, width].

Called for every expert in order, also for those without a token (S = 0)."""

_programs: WeakKeyDictionary[nn.Module, list[ExpertProgram]] = WeakKeyDictionary()


@contextmanager
def expert_programs(hf: Any, programs: Mapping[nn.Module, ExpertProgram]) -> Iterator[None]:
    """Let programs see and change the z of experts modules inside the block; they can be nested."""
    if not programs:
        yield
        return
    ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, _forward)
    before = hf.get_experts_implementation()
    for module, program in programs.items():
        _programs.setdefault(module, []).append(program)
    try:
        hf.set_experts_implementation(IMPLEMENTATION)
        yield
    finally:
        hf.set_experts_implementation(before)
        for module in programs:
            _programs[module].pop()


def _forward(
    experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    out = torch.zeros_like(hidden_states)
    programs = _programs.get(experts, ())
    for expert in range(experts.num_experts):
        tokens, slots = (top_k_index == expert).nonzero().T
        weights = top_k_weights[tokens, slots]
        z = _neurons(experts, expert, hidden_states[tokens])
        for program in programs:
            z = program(expert, tokens, weights, z)
        if len(tokens):
            written = _project(experts, experts.down_proj, "down_proj_bias", expert, z)
            out = out.index_add(0, tokens, (written * weights[:, None]).to(out.dtype))
    return out


def _neurons(experts: Any, expert: int, x: Tensor) -> Tensor:
    if experts.has_gate:
        both = _project(experts, experts.gate_up_proj, "gate_up_proj_bias", expert, x)
        return experts._apply_gate(both)
    return experts.act_fn(_project(experts, experts.up_proj, "up_proj_bias", expert, x))


def _project(experts: Any, stacked: Tensor, bias_name: str, expert: int, x: Tensor) -> Tensor:
    weight = stacked[expert].T if experts.is_transposed else stacked[expert]
    bias = getattr(experts, bias_name)[expert] if experts.has_bias else None
    return linear(x, weight, bias)
