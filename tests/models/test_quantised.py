"""4-bit and 8-bit bases of bitsandbytes, on the CPU."""

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from brodmann.data import Example
from brodmann.errors import ModelError
from brodmann.interventions import bake, erased
from brodmann.localize import locate
from brodmann.models.activations import captured
from brodmann.models.load import load_model, wrap_model
from brodmann.models.selfcheck import verify
from tests.tiny import packable_model

pytest.importorskip("bitsandbytes")

EXAMPLES = [Example("1+2=", "3", delimiter=""), Example("a longer prompt 12-7=", "5", delimiter="")]
BITS = {4: BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32),
        8: BitsAndBytesConfig(load_in_8bit=True)}  # fmt: skip


@pytest.fixture(params=sorted(BITS))
def quantised(request, tmp_path):
    hf, tokenizer = packable_model()
    hf.save_pretrained(tmp_path)
    packed = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=BITS[request.param], dtype=torch.float32, device_map="cpu"
    )
    return load_model(packed, tokenizer)


def test_the_sites_have_their_true_width_and_verify(quantised):
    assert (quantised.n_neurons, quantised.quantisation) == (64, "bitsandbytes")
    assert all(site.quantised for site in quantised.sites)
    assert verify(quantised).passed


def test_scores_equal_those_of_the_dequantised_weights(quantised):
    """A plain model with the dequantised matrices gives the same scores."""
    hf, tokenizer = packable_model()
    from brodmann.models.weights import dense_weight

    with torch.no_grad():
        for layer, packed in zip(hf.model.layers, quantised.hf.model.layers, strict=True):
            for part in (
                "self_attn.q_proj",
                "self_attn.k_proj",
                "self_attn.v_proj",
                "self_attn.o_proj",
                "mlp.gate_proj",
                "mlp.up_proj",
                "mlp.down_proj",
            ):
                with dense_weight(packed.get_submodule(part)) as weight:
                    layer.get_submodule(part).weight.copy_(weight)  # fmt: skip
    plain = locate(wrap_model(hf, tokenizer, name="plain"), EXAMPLES).values
    found = locate(quantised, EXAMPLES).values
    # The 8-bit kernel rounds activations too, which dequantised weights alone do not show.
    assert float((found - plain).abs().max() / plain.abs().max()) < 0.05


def test_erasing_by_hook_works_and_baking_is_refused(quantised, tmp_path):
    chosen = locate(quantised, EXAMPLES).top(k=5)
    with erased(quantised, chosen), captured(quantised, torch.arange(4)) as found:
        quantised.hf(input_ids=torch.tensor([[5, 6, 7, 8]]))
    for layer, neuron in chosen:
        assert not found[layer].z[:, neuron].any()
    with pytest.raises(ModelError, match="packed"):
        bake(quantised, chosen, tmp_path)
