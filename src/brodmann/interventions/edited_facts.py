"""Put an edit of a fact into the weights: inside a block, or into a saved checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from brodmann.errors import MismatchError
from brodmann.interventions.editable import check_editable, down_weight
from brodmann.interventions.rome import RomeEdit, edited_weight
from brodmann.models.language_model import LanguageModel
from brodmann.neurons.provenance import check_made_on
from brodmann.storage import write_json


@contextmanager
def fact_edited(model: LanguageModel, edit: RomeEdit, *, force: bool = False) -> Iterator[None]:
    """Hold the edited down projection in the model inside the block.

    The weight itself is changed and put back bit for bit, also after an exception. Blocks can be
    nested: changes of rank one add up, whether in one layer or in several.

    Args:
        model: the model that the edit was made on.
        edit: the edit.
        force: use an edit that was made on another model of the same shape.

    Raises:
        MismatchError: the edit belongs to another model.
        ModelError: weights that cannot be changed.
    """
    _check_belongs(model, edit, force=force)
    check_editable(model)
    weight = down_weight(model.sites[edit.layer])
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.copy_(edited_weight(model, edit))
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)


def bake_edit(
    model: LanguageModel, edit: RomeEdit, folder: Path | str, *, force: bool = False
) -> None:
    """Save the model with the edit in it, as plain Hugging Face safetensors with the tokenizer.

    The model in memory is not changed. To bake several edits, be inside :func:`fact_edited` of the
    others.

    Args:
        model: the model that the edit was made on.
        edit: the edit.
        folder: where to write; files of the same name are replaced.
        force: use an edit that was made on another model of the same shape.

    Raises:
        MismatchError: the edit belongs to another model.
        ModelError: weights that cannot be changed.
    """
    _check_belongs(model, edit, force=force)
    check_editable(model)
    weight = down_weight(model.sites[edit.layer])
    names = {id(parameter): name for name, parameter in model.hf.named_parameters()}
    state = dict(model.hf.state_dict()) | {names[id(weight)]: edited_weight(model, edit)}
    model.hf.save_pretrained(folder, state_dict=state)
    model.tokenizer.save_pretrained(folder)
    about = {"layer": edit.layer, **edit.provenance}
    write_json(Path(folder) / "brodmann.json", {"quantisation": model.quantisation, "edit": about})


def _check_belongs(model: LanguageModel, edit: RomeEdit, *, force: bool) -> None:
    if not force:
        remedy = "Make it again on this model, or give force=True."
        check_made_on(model.fingerprint, model.name, edit.provenance, "an edit", remedy)
    fits = edit.layer < model.n_layers and model.sites[edit.layer].n_neurons == len(edit.key)
    if not fits or model.width != len(edit.shift):
        raise MismatchError(
            f"Expected an edit that fits '{model.name}'; got one of layer {edit.layer} from "
            f"{len(edit.key)} neurons to {len(edit.shift)} places."
        )
