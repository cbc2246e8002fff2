import json
import subprocess

from brodmann.environment import environment, peak_device_memory_bytes, peak_memory_bytes


def test_environment_is_json_and_names_what_matters():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["versions"].keys() >= {"python", "brodmann", "torch", "transformers"}
    assert found["threads"] >= 1


def test_git_revision_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["git_revision"] is None
    (tmp_path / "a").write_text("1")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "a"], [*identity, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], check=True)
    revision = environment()["git_revision"]
    assert len(revision) == 40
    (tmp_path / "a").write_text("2")
    assert environment()["git_revision"] == f"{revision}-dirty"


def test_peak_memory_is_in_bytes():
    assert 10 * 2**20 < peak_memory_bytes() < 2**40
    assert peak_device_memory_bytes() >= 0
