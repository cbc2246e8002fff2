"""`brodmann locate --method lape`: the neurons whose firing tells several data sets apart."""

import re
import time
from functools import reduce
from operator import or_

from brodmann.cli.locate_request import Request, print_located
from brodmann.errors import InputError

_NAMED = re.compile(r"([\w-]+)=(.+)", re.DOTALL)


def run(request: Request) -> None:
    """Count firing per group, select, write the folder and print.

    Raises:
        InputError: options that do not go together, or fewer than two groups.
    """
    from brodmann.cli.opening import open_model
    from brodmann.cli.processes import join
    from brodmann.cli.run_record import RunRecord
    from brodmann.data import canonical_spec, load_examples
    from brodmann.localize import lape
    from brodmann.storage import check_new_folder, new_folder

    request.check(["percentile", "share", "batch_size"])
    specs = _groups(request.data)
    check_new_folder(request.out, request.overwrite)
    asked = {
        "groups": {name: str(canonical_spec(spec)) for name, spec in specs.items()},
        "split": request.split, "limit": request.limit, "seed": request.seed,
    }  # fmt: skip
    record = RunRecord("locate", method="lape", data=asked, **request.settings)
    examples = {
        name: load_examples(spec, split=request.split, limit=request.limit, seed=request.seed)
        for name, spec in specs.items()
    }
    first = join(request.device)
    opened = open_model(request.model, request.device, request.dtype)
    started = time.perf_counter()
    found = lape(opened, examples, **request.settings)
    seconds = time.perf_counter() - started
    if not first:
        return
    scores, neurons = found.scores(), reduce(or_, found.neurons.values())
    with new_folder(request.out, request.overwrite) as folder:
        scores.write_into(folder)
        neurons.write_into(folder)
        found.write_into(folder)
        record.write(
            folder, opened, scores=scores.provenance, rule=found.provenance["rule"],
            neurons=len(neurons), samples=scores.n_samples, seconds=seconds,
        )  # fmt: skip
    counts = {name: len(own) for name, own in found.neurons.items()}
    told = {"samples": scores.n_samples, "groups": counts}
    lines = [", ".join(f"{name}: {count:,}" for name, count in counts.items())]
    print_located(opened, neurons, request, told, scores=scores, lines=lines)


def _groups(data: tuple[str, ...]) -> dict[str, str]:
    """Name -> spec, of ``NAME=SPEC`` or of specs that name themselves; a path that exists wins.

    Raises:
        InputError: fewer than two groups, or a name that is there twice.
    """
    from brodmann.data.spec import path_exists

    groups: dict[str, str] = {}
    for text in data:
        match = None if path_exists(text) else _NAMED.fullmatch(text)
        name, spec = match.groups() if match else (text, text)
        if name in groups:
            raise InputError(
                f"Expected a name of its own for each --data; '{name}' is there twice."
            )
        groups[name] = spec
    if len(groups) < 2:
        raise InputError(
            f"Expected two or more --data for method 'lape', one per group (NAME=SPEC); got "
            f"{len(groups)}."
        )
    return groups
