"""GGUF files are converted exactly, once, whole or not at all, and refused in one line."""

import json
import multiprocessing
import os
import signal
import struct
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import brodmann.models.gguf as subject
from brodmann.errors import InputError, ModelError, RunError
from brodmann.models.gguf import file_sha256, load_gguf, quantisation_of
from brodmann.models.gguf_header import read_header
from tests.tiny import tiny_tokenizer

pytest.importorskip("gguf")
from tests.tiny.gguf_file import write_tiny_gguf


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.gguf"
    return path, write_tiny_gguf(path)


def entries(cache):
    return sorted(path.name for path in (cache / "gguf").glob("*")) if cache.exists() else []


def refused(error, path, cache):
    with pytest.raises(error) as caught:
        load_gguf(path, cache)
    assert "\n" not in str(caught.value)
    assert entries(cache) == []
    return str(caught.value)


def test_weights_logits_and_tokenizer_are_those_of_the_file(tiny, tmp_path):
    path, expected = tiny
    folder = load_gguf(path, tmp_path / "cache")
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for name, weight in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    text = "12 + 3 = 15, the 加"
    assert tokenizer(text)["input_ids"] == tiny_tokenizer("bytes")(text)["input_ids"]
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    torch.testing.assert_close(model(input_ids=ids).logits, expected(input_ids=ids).logits)


@pytest.mark.parametrize(("kind", "step"), [("Q8_0", 1 / 127), ("Q4_1", 1 / 15)])
def test_quantised_weights_are_near_and_the_folder_says_to_what(kind, step, tmp_path):
    expected = write_tiny_gguf(tmp_path / "tiny.gguf", kind).state_dict()
    folder = load_gguf(tmp_path / "tiny.gguf", tmp_path / "cache")
    name = "model.layers.1.mlp.up_proj.weight"
    weight, exact = load_file(folder / "model.safetensors")[name], expected[name]
    assert weight.dtype == torch.float32
    assert not torch.equal(weight, exact)
    assert (weight - exact).abs().max() <= step * (exact.max() - exact.min())
    assert quantisation_of(folder) == kind


def test_the_folder_is_ordinary_and_describes_its_source(tiny, tmp_path):
    path, _ = tiny
    folder = load_gguf(path, tmp_path / "cache")
    assert folder.name == file_sha256(path)
    assert json.loads((folder / "brodmann.json").read_text())["source"] == "tiny.gguf"
    assert quantisation_of(folder) is None
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again")  # transformers refuses models marked as quantised
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())


def test_folders_without_a_description_have_no_quantisation(tmp_path):
    assert quantisation_of(tmp_path) is None


def test_a_second_call_converts_nothing_and_needs_no_gguf_package(tiny, tmp_path, monkeypatch):
    path, _ = tiny
    folder = load_gguf(path, tmp_path / "cache")
    monkeypatch.setattr(subject, "convert", None)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert load_gguf(str(path), str(tmp_path / "cache")) == folder


def test_the_cache_is_where_the_environment_says(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("BRODMANN_CACHE", str(tmp_path / "a"))
    assert load_gguf(tiny[0]).is_relative_to(tmp_path / "a")
    monkeypatch.delenv("BRODMANN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert load_gguf(tiny[0]).is_relative_to(tmp_path / "b" / "brodmann")


def test_missing_file_and_missing_package(tiny, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    assert "does not exist" in refused(InputError, tmp_path / "none.gguf", cache)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'brodmann[gguf]'" in refused(InputError, tiny[0], cache)


def test_files_that_are_not_gguf_are_refused(tmp_path):
    path = tmp_path / "x.gguf"
    for content in (b"", b"GG", b"PK\3\4 a zip", b"GGUF", b"GGUF" + struct.pack(">I", 3)):
        path.write_bytes(content)
        assert "GGUF" in refused(InputError, path, tmp_path / "cache")


def test_truncated_files_are_refused_wherever_they_end(tiny, tmp_path):
    path, _ = tiny
    content = path.read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in [*range(0, 4000, 97), 7_000, 20_000, len(content) // 2, len(content) - 1000]:
        cut.write_bytes(content[:size])
        refused(InputError, cut, tmp_path / "cache")


def test_absurd_lengths_are_refused_without_taking_memory(tmp_path):
    path = tmp_path / "x.gguf"
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    for rest in (struct.pack("<Q", 1 << 60), struct.pack("<Q3sIIQ", 3, b"abc", 9, 8, 1 << 60)):
        path.write_bytes(head + rest)
        assert "truncated or corrupt" in refused(InputError, path, tmp_path / "cache")


def test_an_architecture_that_transformers_cannot_read_is_refused(tiny, tmp_path):
    content = tiny[0].read_bytes()
    (tmp_path / "y.gguf").write_bytes(content.replace(b"llama", b"lloma"))
    assert "lloma" in refused(ModelError, tmp_path / "y.gguf", tmp_path / "cache")


def test_the_header_is_what_the_gguf_package_reads(tiny):
    import gguf

    reader, header = gguf.GGUFReader(tiny[0]), read_header(tiny[0])
    assert header.metadata["llama.feed_forward_length"] == 48
    assert header.metadata["general.name"] == "tiny"
    assert list(header.extents) == [
        (int(t.tensor_type), int(t.n_elements), int(t.data_offset)) for t in reader.tensors
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_conversion_leaves_nothing(tiny, tmp_path, monkeypatch, error):
    def stop(source, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(subject, "_read_and_save", stop)
    with pytest.raises((KeyboardInterrupt, RunError)):
        load_gguf(tiny[0], tmp_path / "cache")
    assert entries(tmp_path / "cache") == []
    monkeypatch.undo()
    assert load_gguf(tiny[0], tmp_path / "cache").is_dir()


def _hang(path, cache, started):
    def stop(source, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        started.set()
        time.sleep(60)

    subject._read_and_save = stop
    load_gguf(path, cache)


def test_a_killed_conversion_is_not_taken_for_a_model_and_is_swept_later(tiny, tmp_path):
    cache, started = tmp_path / "cache", multiprocessing.Event()
    process = multiprocessing.Process(target=_hang, args=(tiny[0], cache, started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (left,) = (cache / "gguf").iterdir()
    os.utime(left, (0, 0))
    folder = load_gguf(tiny[0], cache)
    assert entries(cache) == [folder.name]


def test_who_comes_second_keeps_what_the_first_made(tiny, tmp_path, monkeypatch):
    path, cache = tiny[0], tmp_path / "cache"
    read_and_save = subject._read_and_save

    def overtaken(source, folder):
        read_and_save(source, folder)
        monkeypatch.setattr(subject, "_read_and_save", read_and_save)
        first = load_gguf(path, cache)
        (first / "mine").touch()

    monkeypatch.setattr(subject, "_read_and_save", overtaken)
    folder = load_gguf(path, cache)
    assert (folder / "mine").exists()
    assert entries(cache) == [folder.name]


def test_a_folder_that_another_process_takes_away_meanwhile_is_no_error(tiny, tmp_path):
    (tmp_path / "cache" / "gguf").mkdir(parents=True)
    vanished = tmp_path / "cache" / "gguf" / ".0.made"
    vanished.symlink_to(tmp_path / "nowhere")  # listed, and not there when it is looked at
    assert load_gguf(tiny[0], tmp_path / "cache").is_dir()


def _convert(path, cache, barrier, answers):
    barrier.wait(60)
    answers.put(str(load_gguf(path, cache)))


def test_processes_that_convert_at_once_agree(tiny, tmp_path):
    cache, barrier, answers = (
        tmp_path / "cache",
        multiprocessing.Barrier(3),
        multiprocessing.Queue(),
    )
    arguments = (tiny[0], cache, barrier, answers)
    processes = [multiprocessing.Process(target=_convert, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    folders = {answers.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    (folder,) = folders
    assert entries(cache) == [folder.rsplit("/", 1)[1]]
    assert load_file(f"{folder}/model.safetensors")
