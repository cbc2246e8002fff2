"""An adapter from a folder, used inside `with` and gone afterwards."""

import pytest
import torch

from brodmann import locate
from brodmann.data import Example
from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.interventions import erased
from brodmann.models.load import wrap_model
from brodmann.tuning import adapted
from brodmann.tuning.lora import prepare_lora
from tests.tuning.neurons import assert_bits, bits, fresh, logits, some_neurons, tuned

EXAMPLES = [Example("1+2=", "3", delimiter=""), Example("a sum: 12-7=", "5", delimiter="")]


def saved(family, folder, **options):
    """A folder with an adapter of a family's tiny model, and the model with it."""
    model = fresh(family)
    peft_model = tuned(model, some_neurons(model), **options)
    peft_model.save_pretrained(folder)
    return peft_model


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "mixtral"])
def test_inside_the_block_it_is_the_tuned_model_and_afterwards_the_base(family, tmp_path):
    expected = logits(saved(family, tmp_path))
    model = fresh(family)
    before, plain = bits(model.hf), logits(model.hf)
    learning = {name: p.requires_grad for name, p in model.hf.named_parameters()}
    with adapted(model, tmp_path) as changed:
        torch.testing.assert_close(logits(changed.hf), expected, rtol=1e-5, atol=1e-5)
        assert changed.fingerprint != model.fingerprint
    assert_bits(model.hf, before)
    assert torch.equal(logits(model.hf), plain)
    assert learning == {name: p.requires_grad for name, p in model.hf.named_parameters()}
    assert not hasattr(model.hf, "peft_config")


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_an_exception_inside_leaves_the_base_model(family, tmp_path):
    saved(family, tmp_path)
    model = fresh(family)
    before = bits(model.hf)
    with pytest.raises(KeyboardInterrupt), adapted(model, tmp_path):
        raise KeyboardInterrupt
    assert_bits(model.hf, before)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_scores_and_erasures_are_those_of_the_tuned_weights(family, tmp_path):
    merged = saved(family, tmp_path).merge_and_unload()
    model = fresh(family)
    expected = wrap_model(merged, model.tokenizer, name="merged")
    neurons = some_neurons(expected, 4)
    with adapted(model, tmp_path) as changed:
        found = locate(changed, EXAMPLES, method="dcsn")
        with erased(changed, neurons, force=True):
            without = logits(changed.hf)
    torch.testing.assert_close(
        found.values, locate(expected, EXAMPLES, method="dcsn").values, rtol=1e-4, atol=1e-6
    )
    with erased(expected, neurons):
        torch.testing.assert_close(without, logits(expected.hf), rtol=1e-5, atol=1e-5)


def test_pefts_own_methods_are_used_too(tmp_path):
    model = fresh("llama")
    lora = prepare_lora(model, rank=2).trained
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.1)
    lora.save_pretrained(tmp_path)
    expected, model = logits(lora), fresh("llama")
    before = bits(model.hf)
    with adapted(model, tmp_path) as changed:
        torch.testing.assert_close(logits(changed.hf), expected, rtol=1e-5, atol=1e-5)
        scores = locate(changed, EXAMPLES, method="dcsn")
    assert_bits(model.hf, before)
    assert not torch.allclose(scores.values, locate(model, EXAMPLES, method="dcsn").values)


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    saved("llama", tmp_path / "own")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "adapter_config.json").write_text('{"peft_type": "NEVER_HEARD"}')
    (tmp_path / "strange" / "adapter_model.safetensors").write_bytes(b"")
    for family, folder, error, told in [
        ("llama", "nothing", InputError, "brodmann tune"),
        ("llama", "strange", InputError, "NEVER_HEARD"),
        ("mistral", "own", MismatchError, "located on another model"),
    ]:
        with (
            pytest.raises(error, match=told) as caught,
            adapted(fresh(family), tmp_path / folder),
        ):
            pass
        assert "\n" not in str(caught.value)
    model = fresh("llama")
    tuned(model, some_neurons(model))
    with pytest.raises(ModelError, match="without adapters"), adapted(model, tmp_path / "own"):
        pass
