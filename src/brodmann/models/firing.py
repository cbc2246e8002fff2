"""Count how often each neuron's non-linearity gives more than 0, while the model runs.

Apart from activations.py, whose hooks hand on what they see: here every token of long texts is
looked at, and to keep all activations would take gigabytes where two counts per neuron do.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from brodmann.errors import ModelError
from brodmann.models.experts import ExpertProgram, expert_programs
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import ExpertSite


@dataclass(slots=True)
class Firing:
    """How often one layer's neurons fired in the forward passes so far.

    Attributes:
        above: [n], at how many tokens the non-linearity's output was above 0.
        tokens: [n], how many tokens reached the neuron: all of them, but of an expert those that
            were routed to it.
    """

    above: Int[Tensor, "n"]
    tokens: Int[Tensor, "n"]


@contextmanager
def firing_counted(model: LanguageModel, counted: Bool[Tensor, "P"]) -> Iterator[list[Firing]]:
    """Count each neuron's firing in the forward pass inside the block.

    The activation is the output of the non-linearity: act(gate) of a gated MLP, act(up) of a
    plain one.

    Args:
        model: the model to observe.
        counted: which tokens of the flattened batch [B * T] count.

    Yields:
        One :class:`Firing` per layer, filled by forward passes.

    Raises:
        ModelError: a layer's non-linearity is not a module that can be observed.
    """
    zeros = [torch.zeros(site.n_neurons, dtype=torch.long) for site in model.sites]
    found = [Firing(zero, zero.clone()) for zero in zeros]
    with ExitStack() as stack:
        programs: dict[nn.Module, ExpertProgram] = {}
        for site, firing in zip(model.sites, found, strict=True):
            if isinstance(site, ExpertSite):
                seen = stack.enter_context(
                    _outputs(_observable(site.experts, "act_fn", site.layer))
                )
                programs[site.experts] = _expert_counter(site, counted, firing, seen)
            else:
                module = _observable(site, "activation", site.layer)
                hook = module.register_forward_hook(_counter(counted, firing))
                stack.callback(hook.remove)
        stack.enter_context(expert_programs(model.hf, programs))
        yield found


def _observable(owner: Any, name: str, layer: int) -> nn.Module:
    module = getattr(owner, name, None)
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"Expected a non-linearity that can be observed in layer {layer}; it is not a module "
            "of its own there. Use a method that reads the down projection's input (dcsn, cnl)."
        )
    return module


def _counter(counted: Tensor, firing: Firing) -> Any:
    def count(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        flat = output.detach().reshape(-1, output.shape[-1])
        chosen = flat[counted.to(flat.device)]
        firing.above += (chosen > 0).sum(0).cpu()
        firing.tokens += len(chosen)

    return count


@contextmanager
def _outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of a module, one per call."""
    seen: list[Tensor] = []

    def record(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen.append(output.detach())

    hook = module.register_forward_hook(record)
    try:
        yield seen
    finally:
        hook.remove()


def _expert_counter(
    site: ExpertSite, counted: Tensor, firing: Firing, seen: list[Tensor]
) -> ExpertProgram:
    def count(expert: int, tokens: Tensor, weights: Tensor, z: Tensor) -> Tensor:
        # Experts run one after the other, and each applies its non-linearity once before this.
        if len(seen) != 1 or seen[0].shape != z.shape:
            raise ModelError(
                f"Expected the experts of layer {site.layer} to apply their non-linearity once "
                "each; they do not. Use a method that reads the down projection's input."
            )
        here = counted.to(tokens.device)[tokens]
        span = slice(expert * site.width, (expert + 1) * site.width)
        firing.above[span] += (seen.pop()[here] > 0).sum(0).cpu()
        firing.tokens[span] += int(here.sum())
        return z

    return count
