"""What `erase` and `scale` share: bake a factor into a checkpoint."""

from pathlib import Path


def bake_to_folder(
    model: str,
    neurons: Path,
    out: Path,
    *,
    verb: str,
    by: float,
    force: bool,
    overwrite: bool,
    device: str | None,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Open the model, multiply the set's columns by a factor and write the checkpoint."""
    from brodmann.cli.opening import open_model
    from brodmann.cli.output import note, print_json, print_text
    from brodmann.cli.run_record import RunRecord
    from brodmann.interventions import bake
    from brodmann.neurons import NeuronSet
    from brodmann.storage import check_new_folder, new_folder

    check_new_folder(out, overwrite)
    record = RunRecord(verb, set=neurons, by=by, force=force)
    chosen = NeuronSet.load(neurons)
    opened = open_model(model, device, dtype)
    with new_folder(out, overwrite) as folder:
        bake(opened, chosen, folder, by=by, force=force)
        record.write(folder, opened, neurons=len(chosen), set=chosen.provenance)
    if as_json:
        print_json({"out": out, "neurons": len(chosen), "by": by})
        return
    done = "erased" if by == 0 else f"scaled by {by:g}"
    print_text(f"{len(chosen):,} neurons {done}; an ordinary checkpoint is in {out}")
    note(f"wrote {out}")
