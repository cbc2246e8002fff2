import pytest

from brodmann.progress import progress


@pytest.mark.parametrize(("variable", "drawn"), [("1", True), ("0", False), ("", False)])
def test_the_variable_decides(monkeypatch, capsys, variable, drawn):
    monkeypatch.setenv("BRODMANN_PROGRESS", variable)
    assert list(progress(range(3), total=3, label="Locating")) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert ("Locating" in err) is drawn


@pytest.mark.parametrize("shown", [True, None])
def test_of_several_processes_the_first_draws(monkeypatch, capsys, shown):
    monkeypatch.setenv("BRODMANN_PROGRESS", "1")
    for number, drawn in (("0", True), ("1", False)):
        for name, value in {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        assert list(progress(range(3), label="Locating", shown=shown)) == [0, 1, 2]
        assert ("Locating" in capsys.readouterr().err) is drawn


def test_shown_wins_over_the_variable(monkeypatch, capsys):
    monkeypatch.setenv("BRODMANN_PROGRESS", "1")
    assert list(progress(iter("ab"), shown=False)) == ["a", "b"]
    assert capsys.readouterr().err == ""
