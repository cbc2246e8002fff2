"""What was asked of `brodmann locate`, and which of it a method takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brodmann.errors import InputError

if TYPE_CHECKING:
    from brodmann.models import LanguageModel
    from brodmann.neurons import NeuronScores, NeuronSet

STRONGEST_SHOWN = 10


@dataclass(frozen=True)
class Request:
    """What was asked on the command line; ``settings`` and ``rule`` hold what was given only.

    Attributes:
        data: data specs; several for a method that compares groups.
        settings: options of the method.
        rule: options of the selection; ``k`` takes the strongest.
    """

    model: str
    device: str | None
    dtype: str | None
    data: tuple[str, ...]
    split: str
    limit: int | None
    seed: int
    method: str
    settings: dict[str, Any]
    rule: dict[str, Any]
    until_stable: float | None
    min_samples: int
    out: Path
    resume: bool
    overwrite: bool
    as_json: bool

    def one_data(self) -> str:
        """The data spec of a method that takes one.

        Raises:
            InputError: none, or several.
        """
        if len(self.data) != 1:
            given = ", ".join(self.data) or "none"
            raise InputError(f"Expected one --data for method '{self.method}'; got {given}.")
        return self.data[0]

    def check(
        self, settings: Iterable[str], *, rule: Iterable[str] = (), resume: bool = False
    ) -> None:
        """Refuse options that the method does not have.

        Args:
            settings: those that it has.
            rule: options of the selection that it has.
            resume: whether it can go on where it was interrupted.

        Raises:
            InputError: naming the option and those that the method has.
        """
        takes = [*settings, *rule, *(["resume"] if resume else [])]
        given = [*self.settings, *self.rule]
        given += ["resume"] * self.resume + ["until_stable"] * (self.until_stable is not None)
        for name in given:
            if name not in takes:
                listed = ", ".join(option_name(known) for known in takes) or "none of its own"
                raise InputError(
                    f"Expected options of method '{self.method}' ({listed}); got "
                    f"{option_name(name)}. Leave it out, or choose another method."
                )


def option_name(name: str) -> str:
    """An option as it stands on the command line."""
    return "--top" if name == "k" else "--" + name.replace("_", "-")


def print_located(
    model: "LanguageModel",
    neurons: "NeuronSet",
    request: Request,
    told: dict[str, Any],
    *,
    scores: "NeuronScores | None" = None,
    lines: Iterable[str] = (),
) -> None:
    """Print what a locate command found.

    Args:
        model: where it was found.
        neurons: the set.
        request: what was asked.
        told: what else ``--json`` holds ("samples", ...).
        scores: of all neurons, to show the strongest by.
        lines: what else people read.
    """
    from brodmann.cli.output import note, percent, print_json, print_table, print_text

    own = [site.parameters_per_neuron for site in model.sites]
    of_parameters = neurons.parameter_share(own, model.hf.num_parameters())
    strongest = [] if scores is None else _strongest(neurons, scores)
    summary = {
        "out": str(request.out),
        **told,
        "neurons": len(neurons),
        "share_of_neurons": neurons.share,
        "share_of_parameters": of_parameters,
        "counts": neurons.counts.tolist(),
        **({} if scores is None else {"strongest": strongest}),
    }
    if request.as_json:
        print_json(summary)
        return
    of_samples = f" ({told['samples']:,} samples)" if "samples" in told else ""
    print_text(
        f"{len(neurons):,} of {model.n_neurons_total:,} neurons: {percent(neurons.share)} of the "
        f"neurons, {percent(of_parameters)} of the parameters{of_samples}"
    )
    for line in lines:
        print_text(line)
    print_text(f"layers 0–{neurons.n_layers - 1} {neurons.layer_strip()}")
    if strongest:
        print_table(strongest, title="Strongest neurons")
    note(f"wrote {request.out}")


def _strongest(neurons: "NeuronSet", scores: "NeuronScores") -> list[dict[str, Any]]:
    found = sorted(neurons, key=lambda pair: -abs(scores.values[pair].item()))
    return [
        {
            "layer": layer,
            "neuron": neuron,
            "score": scores.values[layer, neuron].item(),
            "standard_error": scores.standard_error[layer, neuron].item(),
        }
        for layer, neuron in found[:STRONGEST_SHOWN]
    ]
