import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brodmann import storage
from brodmann.errors import InputError, RunError
from brodmann.storage import (
    new_folder,
    read_json,
    read_rows,
    read_tensors,
    write_json,
    write_rows,
    write_tensors,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def entries(folder):
    return sorted(entry.name for entry in folder.iterdir())


class TestNewFolder:
    def test_takes_the_name_only_when_done(self, tmp_path):
        with new_folder(tmp_path / "a" / "out") as folder:
            (folder / "run.json").write_text("{}")
            assert not (tmp_path / "a" / "out").exists()
        assert entries(tmp_path / "a") == ["out"]
        assert entries(tmp_path / "a" / "out") == ["run.json"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_nothing_stays_after_an_exception(self, tmp_path, error):
        with pytest.raises(error), new_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            raise error
        assert entries(tmp_path) == []

    def test_an_existing_folder_is_kept_without_overwrite(self, tmp_path):
        (tmp_path / "run.json").touch()
        with pytest.raises(InputError, match="--overwrite"), new_folder(tmp_path):
            pass
        assert entries(tmp_path) == ["run.json"]

    def test_overwrite_replaces_after_success_only(self, tmp_path):
        out = tmp_path / "out"
        with new_folder(out) as folder:
            (folder / "old").touch()
        with pytest.raises(ZeroDivisionError), new_folder(out, overwrite=True):
            _ = 1 / 0
        assert entries(out) == [".brodmann", "old"]
        with new_folder(out, overwrite=True) as folder:
            (folder / "new").touch()
        assert entries(out) == [".brodmann", "new"]
        assert entries(tmp_path) == ["out"]

    def test_overwrite_refuses_what_brodmann_did_not_make(self, tmp_path):
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(InputError, match="other files"), new_folder(tmp_path, overwrite=True):
            pass
        assert entries(tmp_path) == ["thesis.tex"]

    def test_an_empty_folder_counts_as_new(self, tmp_path):
        (tmp_path / "out").mkdir()
        with new_folder(tmp_path / "out") as folder:
            (folder / "run.json").touch()
        assert entries(tmp_path / "out") == ["run.json"]

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(InputError, match="is a file"), new_folder(tmp_path / "out"):
            pass

    def test_a_link_to_a_folder_stays_a_link(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        with new_folder(tmp_path / "link") as folder:
            (folder / "run.json").touch()
        assert (tmp_path / "link").is_symlink()
        assert entries(tmp_path / "real") == ["run.json"]

    def test_a_full_disk_is_one_line(self, tmp_path):
        with pytest.raises(RunError, match="disk is full"), new_folder(tmp_path / "out"):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert entries(tmp_path) == []

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_place_without_permission_is_one_line(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(InputError, match="cannot"), new_folder(tmp_path / "out"):
            pass
        tmp_path.chmod(0o700)

    def test_a_killed_run_leaves_no_folder(self, tmp_path):
        code = (
            "import os, signal\nfrom brodmann.storage import new_folder\n"
            f"with new_folder({str(tmp_path / 'out')!r}) as folder:\n"
            "    (folder / 'half').touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        assert subprocess.run([sys.executable, "-c", code]).returncode == -9
        assert not (tmp_path / "out").exists()


class TestJson:
    @settings(deadline=None, max_examples=50)
    @given(value=JSON)
    def test_round_trip(self, tmp_path_factory, value):
        path = tmp_path_factory.mktemp("json") / "value.json"
        write_json(path, value)
        assert read_json(path) == value

    def test_other_types_become_json(self, tmp_path):
        value = {"p": Path("a/b"), "t": (1, 2), "n": np.float32(0.5), "s": torch.tensor(3)}
        write_json(tmp_path / "v.json", value | {"nan": float("nan"), "inf": [float("inf")]})
        assert json.loads((tmp_path / "v.json").read_text()) == {
            "p": "a/b", "t": [1, 2], "n": 0.5, "s": 3, "nan": None, "inf": [None]
        }  # fmt: skip

    def test_a_value_without_json_form_leaves_the_old_file(self, tmp_path):
        write_json(tmp_path / "v.json", 1)
        with pytest.raises(TypeError):
            write_json(tmp_path / "v.json", object())
        assert read_json(tmp_path / "v.json") == 1
        assert entries(tmp_path) == ["v.json"]

    @pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00"])
    def test_corrupt(self, tmp_path, text):
        (tmp_path / "v.json").write_bytes(text)
        with pytest.raises(InputError, match="corrupt"):
            read_json(tmp_path / "v.json")


class TestTensors:
    def test_round_trip_of_every_layout(self, tmp_path):
        base = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
        tensors = {"t": base.T, "same": base, "row": base[1], "mask": base > 4, "wide": base[:, :1]}
        tensors["expanded"] = base[:, :1].expand(3, 5)
        write_tensors(tmp_path / "x.safetensors", tensors, {"a": "é", "b": "2"})
        read, metadata = read_tensors(tmp_path / "x.safetensors")
        assert metadata == {"a": "é", "b": "2"}
        assert read.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert read[name].dtype == tensor.dtype
            assert torch.equal(read[name], tensor)

    def test_equal_input_gives_equal_bytes(self, tmp_path):
        metadata = {str(i): "x" for i in range(16)}
        for name in ("one", "two"):
            shuffled = dict(random.Random(name).sample(sorted(metadata.items()), 16))
            write_tensors(tmp_path / name, {"a": torch.ones(2)}, shuffled)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()

    def test_missing_corrupt_and_foreign_files_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="there is none"):
            read_tensors(tmp_path / "x.safetensors")
        write_tensors(tmp_path / "x.safetensors", {"a": torch.ones(100)})
        whole = (tmp_path / "x.safetensors").read_bytes()
        for cut in (b"", whole[:4], whole[:-8], b"PK" + whole):
            (tmp_path / "cut").write_bytes(cut)
            with pytest.raises(InputError, match="corrupt"):
                read_tensors(tmp_path / "cut")
        storage.save_file({"a": torch.ones(2)}, tmp_path / "foreign")
        with pytest.raises(InputError, match="elsewhere"):
            read_tensors(tmp_path / "foreign")

    def test_a_full_disk_is_one_line_and_keeps_the_old_file(self, tmp_path, monkeypatch):
        write_tensors(tmp_path / "x", {"a": torch.ones(2)})

        def full(*_, **__):
            raise storage.SafetensorError("I/O error: No space left on device (os error 28)")

        monkeypatch.setattr(storage, "save_file", full)
        with pytest.raises(RunError, match="disk is full"):
            write_tensors(tmp_path / "x", {"a": torch.zeros(2)})
        monkeypatch.undo()
        assert read_tensors(tmp_path / "x")[0]["a"].sum() == 2
        assert entries(tmp_path) == ["x"]


class TestRows:
    @settings(deadline=None, max_examples=50)
    @given(rows=st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), max_size=4))
    def test_round_trip(self, tmp_path_factory, rows):
        path = tmp_path_factory.mktemp("rows") / "rows.parquet"
        write_rows(path, rows)
        names = list(dict.fromkeys(name for row in rows for name in row))
        expected = [{name: row.get(name) for name in names} for row in rows] if names else []
        assert read_rows(path) == expected

    def test_columns_of_plain_types_stay_typed(self, tmp_path):
        rows = [{"n": 1, "x": 0.5, "tokens": [1, 2]}, {"n": 2, "x": float("nan"), "tokens": []}]
        write_rows(tmp_path / "r", rows)
        types = [str(field.type) for field in storage.pq.read_schema(tmp_path / "r")]
        assert types[:2] == ["int64", "double"]
        assert types[2].startswith("list<")
        assert np.isnan(read_rows(tmp_path / "r")[1]["x"])

    def test_corrupt_and_missing(self, tmp_path):
        with pytest.raises(InputError, match="there is none"):
            read_rows(tmp_path / "r")
        (tmp_path / "r").write_bytes(b"PAR1 no")
        with pytest.raises(InputError, match="corrupt"):
            read_rows(tmp_path / "r")
