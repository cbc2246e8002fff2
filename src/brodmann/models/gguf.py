"""`load_gguf`: a GGUF file, dequantised once to an ordinary Hugging Face folder in the cache.

Reading GGUF takes 12 to 50 seconds even for small models, the folder under a second. The weights
of the folder are those of the file, written out in float32: what was rounded stays rounded, and
``brodmann.json`` in the folder says how.
"""

import hashlib
import importlib.util
import io
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from brodmann.errors import InputError, ModelError
from brodmann.launch import process_number
from brodmann.models.cache import cache_folder
from brodmann.models.gguf_header import GgufHeader, check_is_whole, read_header
from brodmann.storage import new_folder, read_json, write_json

DESCRIPTION = "brodmann.json"
"""The file in a converted folder that says what it was made from."""

_STALE_AFTER = 24 * 3600.0  # seconds


def load_gguf(
    path: str | os.PathLike[str], cache_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Return the Hugging Face folder of a GGUF file, converted at the first call.

    Args:
        path: the ``.gguf`` file.
        cache_dir: where converted folders are kept; by default :func:`cache_folder`.

    Returns:
        A folder with float32 safetensors, tokenizer and ``brodmann.json``, keyed by the sha256
        of the file. Two processes that convert the same file at once do not disturb each other.

    Raises:
        InputError: no such file, not GGUF, truncated, or the ``gguf`` package is missing.
        ModelError: an architecture that transformers cannot read from GGUF.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise InputError(f"Expected a GGUF file; {source} does not exist.")
    header = read_header(source)
    digest = file_sha256(source)
    if (folder := converted_folder(digest, cache_dir)) is not None:
        return folder
    return convert(source, digest, header, cache_dir=cache_dir)


def converted_folder(sha256: str, cache_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder that the file of this hash was converted to, or None."""
    folder = _folder_of(sha256, cache_dir)
    return folder if (folder / DESCRIPTION).is_file() else None


def quantisation_of(folder: str | os.PathLike[str]) -> str | None:
    """Return what a folder's weights had been rounded to (``"Q4_1"``), or None if to nothing."""
    description = Path(folder) / DESCRIPTION
    return read_json(description).get("quantisation") if description.is_file() else None


def require_gguf() -> None:
    """Refuse to go on without the ``gguf`` package.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise InputError(
            "Expected the gguf package, which reads GGUF files; it is not installed. "
            "Write: pip install 'brodmann[gguf]'"
        )


def convert(
    source: Path,
    sha256: str,
    header: GgufHeader,
    *,
    notices: Sequence[Path] = (),
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Dequantise a GGUF file into its folder of the cache, whole or not at all.

    Args:
        source: the file.
        sha256: its hash.
        header: its head.
        notices: licence files to keep beside the model.
        cache_dir: where converted folders are kept.

    Raises:
        InputError: the file is truncated, or the ``gguf`` package is missing.
        ModelError: an architecture that transformers cannot read from GGUF.
        RunError: the disk is full.
    """
    require_gguf()
    check_is_whole(source, header)
    target = _folder_of(sha256, cache_dir)
    _sweep(target.parent)
    note(f"converting {source.name} to float32 safetensors (once, about a minute) ...")
    made = target.with_name(f".{sha256}.{uuid.uuid4().hex[:8]}.made")
    with new_folder(made) as work:
        with _quiet_unless_watched():
            _read_and_save(source, work)
        for notice in notices:
            shutil.copyfile(notice, work / notice.name)
        write_json(work / DESCRIPTION, _description(source, sha256, header))
    return _take_the_name(made, target)


def note(line: str) -> None:
    """Say on stderr what takes long, once, unless ``BRODMANN_PROGRESS=0``."""
    if os.environ.get("BRODMANN_PROGRESS") != "0" and process_number() == 0:
        print(f"brodmann: {line}", file=sys.stderr, flush=True)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quantisation_name(header: GgufHeader) -> str | None:
    """Return the name of what the weights are rounded to; None for float32.

    The file's own word (``general.file_type``), else the type that holds most weights.
    """
    from gguf import GGMLQuantizationType, LlamaFileType

    try:
        name = LlamaFileType(int(header.metadata["general.file_type"])).name
    except (KeyError, ValueError):
        name = "GUESSED"
    if name == "GUESSED" and header.elements:
        name = GGMLQuantizationType(max(header.elements, key=header.elements.__getitem__)).name
    name = name.removeprefix("MOSTLY_").removeprefix("ALL_")
    return None if name == "F32" else name


def _folder_of(sha256: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    base = cache_folder() if cache_dir is None else Path(cache_dir).expanduser()
    return base / "gguf" / sha256


def _read_and_save(source: Path, folder: Path) -> None:
    place: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **place)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            **place,
        )
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; those of transformers have no number
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"Expected a GGUF model that transformers can read; {source} is not: {reason}"
        ) from error
    if tokenizer is None:
        raise ModelError(f"Expected a GGUF file with a tokenizer; {source} has none to read.")
    _forget_quantisation(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _forget_quantisation(model: PreTrainedModel) -> None:
    """The weights are plain float32 now, but transformers refuses to save while these are set."""
    for owner, name in (
        (model, "hf_quantizer"),
        (model, "is_quantized"),
        (model, "quantization_method"),
        (model.config, "quantization_config"),
    ):
        if name in vars(owner):
            delattr(owner, name)


@contextmanager
def _quiet_unless_watched() -> Iterator[None]:
    """Keep the bars of transformers out of logs; they cannot be switched off one by one."""
    if sys.stderr.isatty():
        yield
    else:
        with redirect_stderr(io.StringIO()):
            yield


def _description(source: Path, sha256: str, header: GgufHeader) -> dict[str, object]:
    return {
        "source": source.name,
        "sha256": sha256,
        "quantisation": quantisation_name(header),
        "architecture": header.metadata.get("general.architecture"),
        "dtype": "float32",
        "versions": {name: version(name) for name in ("torch", "transformers", "gguf")},
    }


def _take_the_name(made: Path, target: Path) -> Path:
    """Rename a finished folder; where another process was first, keep its equal one."""
    try:
        made.rename(target)
    except OSError:
        if not (target / DESCRIPTION).is_file():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _sweep(parent: Path) -> None:
    """Remove what killed conversions left behind."""
    for path in parent.glob(".*.made*"):
        with suppress(FileNotFoundError):  # finished meanwhile by another process
            if time.time() - path.stat().st_mtime > _STALE_AFTER:
                shutil.rmtree(path, ignore_errors=True)
