"""Turn what stands on the command line into what the library works with."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from brodmann.errors import InputError
from brodmann.launch import number_on_machine, process_count

if TYPE_CHECKING:
    from brodmann.models import LanguageModel


def open_model(name: str, device: str | None = None, dtype: str | None = None) -> "LanguageModel":
    """Load a model; ``device="auto"`` spreads its layers over the devices that are there."""
    from brodmann.models import load_model

    if device == "auto":
        return load_model(name, dtype=dtype, device_map="auto")
    return load_model(name, dtype=dtype, device=device)


def parse_batch_size(text: str) -> int | Literal["auto"]:
    """Read ``--batch-size``.

    Raises:
        InputError: when it is neither a number above 0 nor ``auto``.
    """
    if text == "auto":
        return "auto"
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise InputError(f"Expected --batch-size auto or a number above 0; got '{text}'.")


def checkpoint_file(out: Path, *, resume: bool, overwrite: bool) -> Path:
    """Return where an unfinished run to ``out`` keeps its state.

    The file lies beside ``out``, in a hidden folder that goes when the run ends well. Of several
    processes, which have joined before, one removes what is not wanted while the others wait.

    Raises:
        InputError: when there is one, and neither to resume nor to overwrite it is asked for.
    """
    import shutil

    folder = out.resolve().with_name(f".{out.resolve().name}.unfinished")
    if (folder / "sums.safetensors").exists() and not resume and not overwrite:
        raise InputError(
            f"{folder} holds an unfinished run. Write --resume to go on with it, or --overwrite "
            "to start anew."
        )
    if not resume and number_on_machine() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    if process_count() > 1:
        from brodmann.localize.processes import wait_for_all

        wait_for_all()
    return folder / "sums.safetensors"
