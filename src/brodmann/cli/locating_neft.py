"""`brodmann locate --method neft`: the neurons that a full fine-tune has turned most."""

import time
from pathlib import Path

from brodmann.cli.locate_request import Request, print_located
from brodmann.cli.locating import check_top, selection
from brodmann.errors import InputError

RULE = ("sigma", "dispersion", "scope", "sign", "k")


def run(request: Request) -> None:
    """Compare two checkpoints, select, write the folder and print.

    Raises:
        InputError: options that do not go together, or no ``--tuned``.
        MismatchError: the checkpoint is of another model.
    """
    from brodmann.cli.opening import open_model
    from brodmann.cli.processes import join
    from brodmann.cli.run_record import RunRecord
    from brodmann.localize import neft
    from brodmann.storage import check_new_folder, new_folder

    request.check(["tuned"], rule=RULE)
    tuned: Path | None = request.settings.get("tuned")
    if tuned is None or request.data:
        raise InputError(
            "Expected --tuned DIR, a full fine-tune of the model, and no --data for method "
            f"'neft'; got {'--data' if request.data else 'no --tuned'}. 'brodmann tune --method "
            "full' makes one."
        )
    rule = selection(request.rule)
    check_new_folder(request.out, request.overwrite)
    record = RunRecord("locate", method="neft", tuned=str(tuned))
    first = join(request.device)
    opened = open_model(request.model, request.device, request.dtype)
    check_top(opened, request.rule)
    after = open_model(str(tuned), request.device, request.dtype)
    started = time.perf_counter()
    tuning = {"checkpoint": str(tuned), "fingerprint": after.fingerprint}
    scores = neft(opened, after.hf, tuning=tuning)
    seconds = time.perf_counter() - started
    if not first:
        return
    neurons = rule(scores)
    with new_folder(request.out, request.overwrite) as folder:
        scores.write_into(folder)
        neurons.write_into(folder)
        record.write(
            folder, opened, scores=scores.provenance, rule=neurons.provenance["rule"],
            neurons=len(neurons), seconds=seconds,
        )  # fmt: skip
    print_located(opened, neurons, request, {"tuned": str(tuned)}, scores=scores)
