"""Models wrapped by an adapter are located as they compute: base weights plus delta."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from brodmann.data import Example
from brodmann.errors import ModelError
from brodmann.interventions import bake, erased
from brodmann.localize import locate
from brodmann.models import load_model, verify
from brodmann.models.activations import captured
from tests.tiny import tiny_model

EXAMPLES = [Example("1+2=", "3", delimiter=""), Example("a longer prompt 12-7=", "5", delimiter="")]
TARGETS = {"llama": ["down_proj", "up_proj", "q_proj"], "gpt2": ["c_proj", "c_fc"]}


@pytest.fixture(params=sorted(TARGETS))
def wrapped(request):
    hf, tokenizer = tiny_model(request.param)
    config = LoraConfig(
        r=4, target_modules=TARGETS[request.param], init_lora_weights=False, lora_alpha=8,
        fan_in_fan_out=request.param == "gpt2", task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(0)
    return get_peft_model(hf, config), tokenizer


def test_scores_are_those_of_the_merged_model(wrapped):
    peft_model, tokenizer = wrapped
    model = load_model(peft_model, tokenizer)
    assert verify(model).passed
    found = locate(model, EXAMPLES).values
    merged = locate(load_model(peft_model.merge_and_unload(), tokenizer), EXAMPLES).values
    torch.testing.assert_close(found, merged, rtol=1e-4, atol=1e-5)


def test_erasing_works_and_baking_asks_to_merge_first(wrapped, tmp_path):
    peft_model, tokenizer = wrapped
    model = load_model(peft_model, tokenizer)
    chosen = locate(model, EXAMPLES).top(k=5)
    with erased(model, chosen), captured(model, torch.arange(4)) as found:
        peft_model(input_ids=torch.tensor([[5, 6, 7, 8]]))
    assert not any(found[layer].z[:, neuron].any() for layer, neuron in chosen)
    with pytest.raises(ModelError, match="merge them first"):
        bake(model, chosen, tmp_path)
