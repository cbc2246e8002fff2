import pytest
import torch

from brodmann.errors import DataError, InputError, ModelError
from brodmann.interventions import KeyCovariance, key_covariances
from tests.reference import rome as reference
from tests.tiny import MOE_FAMILIES, TINY_FAMILIES
from tests.tiny.opened import opened

TEXTS = ["the sum of 12 and 30 is 42", "a tower is tall", "Yes", "an apple = 3"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BRODMANN_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("family", [name for name in TINY_FAMILIES if name not in MOE_FAMILIES])
def test_moments_of_several_layers_equal_a_loop_over_single_texts(family):
    model = opened(family)
    found = key_covariances(model, TEXTS, [0, 2], cache=False)
    sequences = [model.tokenizer(text).input_ids for text in TEXTS]
    for layer in (0, 2):
        expected = reference.moment(model.hf, layer, sequences)
        torch.testing.assert_close(
            found[layer].moment.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.max())
        )
        assert found[layer].n_tokens == sum(map(len, sequences))
        assert found[layer].layer == layer


def test_the_solution_is_that_of_the_shrunk_matrix_and_shrinkage_is_said():
    model = opened("llama")
    singular = key_covariances(model, TEXTS[:1], [1], cache=False)[1]
    key = torch.randn(48, generator=torch.Generator().manual_seed(0))
    with pytest.warns(
        UserWarning, match=r"C of layer 1 \(27 tokens, 48 neurons\) is singular; 0.01"
    ):
        solved = singular.solve(key)
    assert singular.shrinkage == 0.01
    moment = singular.moment.double()
    shrunk = moment + 0.01 * moment.diagonal().mean() * torch.eye(48)
    torch.testing.assert_close(shrunk @ solved, key.double())
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(500, 48, generator=generator)
    plenty = KeyCovariance(1, keys.T @ keys / 500, 500, {})
    assert plenty.shrinkage == 0.0
    torch.testing.assert_close(plenty.moment.double() @ plenty.solve(key), key.double())


def test_neurons_that_are_never_on_are_shrunk_and_a_matrix_of_zeros_is_refused():
    keys = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    keys[:, 3] = 0
    moment = keys.T @ keys / 500
    with pytest.warns(UserWarning, match="1e-06 of its mean diagonal"):
        assert KeyCovariance(0, moment, 500, {}).shrinkage == 1e-6
    with pytest.raises(ModelError, match="are 0 on all of the corpus"):
        KeyCovariance(0, torch.zeros(8, 8), 500, {}).solve(torch.ones(8))


def test_tokens_are_counted_up_to_the_most_that_are_wanted():
    model = opened("llama")  # BOS in front
    ids = model.tokenizer(TEXTS[0]).input_ids[:10]
    found = key_covariances(model, iter(TEXTS), [1], max_tokens=10, cache=False)[1]
    assert found.n_tokens == 10
    expected = reference.moment(model.hf, 1, [ids])
    torch.testing.assert_close(found.moment.double(), expected, rtol=1e-4, atol=1e-5)
    longest = key_covariances(model, ["12 + 3 = 15, " * 60], [1], max_tokens=600, cache=False)[1]
    assert longest.n_tokens == 600  # in windows of the context's 256


def test_they_are_kept_under_model_and_corpus(folder, monkeypatch):
    model = opened("llama")
    first = key_covariances(model, TEXTS, [0, 1])
    files = sorted(path.name for path in folder.rglob("*.safetensors"))
    assert files == ["layer-0.safetensors", "layer-1.safetensors"]
    monkeypatch.setattr(model.decoder, "forward", None)  # nothing is read again
    again = key_covariances(model, TEXTS, [1])
    assert torch.equal(again[1].moment, first[1].moment)
    assert dict(again[1].provenance) == dict(first[1].provenance)
    assert again[1].n_tokens == first[1].n_tokens
    monkeypatch.undo()
    monkeypatch.setenv("BRODMANN_CACHE", str(folder))
    key_covariances(model, TEXTS[:2], [1])
    key_covariances(opened("llama", seed=1), TEXTS, [1])
    assert len(list(folder.rglob("layer-1.safetensors"))) == 3


def test_a_saved_one_is_read_back_and_something_else_refused(tmp_path):
    model = opened("gpt2")
    found = key_covariances(model, TEXTS, [1], cache=False)[1]
    found.save(tmp_path / "c.safetensors")
    again = KeyCovariance.load(tmp_path / "c.safetensors")
    assert torch.equal(again.moment, found.moment)
    assert (again.layer, again.n_tokens) == (1, found.n_tokens)
    assert dict(again.provenance) == dict(found.provenance)
    with pytest.raises(InputError, match="Expected a safetensors file"):
        KeyCovariance.load(tmp_path / "none.safetensors")


def test_bad_input_is_one_line():
    model = opened("llama")
    for layers, text in (([3], "a layer from 0 to 2"), ([-1], "got -1"), ([], "at least one")):
        with pytest.raises(InputError, match=text):
            key_covariances(model, TEXTS, layers, cache=False)
    with pytest.raises(InputError, match="at least 1 token"):
        key_covariances(model, TEXTS, [1], max_tokens=0, cache=False)
    with pytest.raises(DataError, match="Expected a corpus with text"):
        key_covariances(model, ["", ""], [1], cache=False)
    with torch.no_grad():
        model.sites[0].down.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="Expected finite activations over the corpus; layer 1"):
        key_covariances(model, TEXTS, [1], cache=False)
