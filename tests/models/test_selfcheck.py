import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from transformers import OPTConfig, OPTForCausalLM

from brodmann.errors import InputError, ModelError
from brodmann.models import architectures
from brodmann.models.architectures import ARCHITECTURES, find_architecture, supported_families
from brodmann.models.fingerprint import fingerprint
from brodmann.models.load import load_model, open_unchecked, wrap_model
from brodmann.models.selfcheck import verify
from tests.tiny import TINY_FAMILIES, tiny_model, tiny_tokenizer
from tests.tiny.families import FAMILIES
from tests.tiny.opened import opened

PROMISED = {
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "gpt2",
    "gptj", "gpt_neox", "gpt_neo", "opt", "bloom", "falcon", "mpt", "olmo2", "stablelm", "granite",
    "cohere", "starcoder2", "smollm3", "glm4", "mixtral", "qwen3_moe",
}  # fmt: skip
UNTESTED = {"ernie4_5", "gpt_bigcode"}  # the names of llama and gpt2, nothing of their own


def test_the_families_listed_are_those_promised_and_tested():
    tested = {family.model_type for family in FAMILIES.values()}
    assert set(supported_families()) >= PROMISED
    assert set(supported_families()) - UNTESTED == tested
    named = [family for row in ARCHITECTURES for family in row.families]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_every_family_is_verified(family):
    result = verify(opened(family))
    assert result.passed, [row for row in result.rows if not row.passed]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_every_family_opens_in_other_types(family, dtype):
    assert opened(family, dtype).dtype == dtype


@pytest.mark.parametrize("family", ["gemma2", "olmo2", "glm4"])
def test_a_row_that_forgets_the_post_norm_is_refused(family, monkeypatch):
    hf, tokenizer = tiny_model(family)
    row = find_architecture(hf.config.model_type, hf.get_decoder())
    wrong = architectures.replace(row, post_norm=None)
    monkeypatch.setattr("brodmann.models.load.find_architecture", lambda *_: wrong)
    with pytest.raises(ModelError, match="zeroing neurons equals zeroing their columns"):
        wrap_model(hf, tokenizer, name="wrong")


@pytest.mark.parametrize(
    ("family", "field"),
    [("granite", "residual_multiplier"), ("granite", "logit_divisor"), ("cohere", "logit_scale"),
     ("gemma2", "soft_cap")],
)  # fmt: skip
def test_a_row_that_forgets_a_factor_is_refused(family, field, monkeypatch):
    hf, tokenizer = tiny_model(family)
    row = find_architecture(hf.config.model_type, hf.get_decoder())
    wrong = architectures.replace(row, **{field: None})
    monkeypatch.setattr("brodmann.models.load.find_architecture", lambda *_: wrong)
    with pytest.raises(ModelError, match="is not what architecture row"):
        wrap_model(hf, tokenizer, name="wrong")


def test_an_mlp_that_does_more_than_its_row_says_is_refused():
    hf, tokenizer = tiny_model("llama")

    class Odd(nn.Module):
        def __init__(self, mlp):
            super().__init__()
            self.gate_proj, self.up_proj = mlp.gate_proj, mlp.up_proj
            self.down_proj, self.act_fn = mlp.down_proj, mlp.act_fn

        def forward(self, x):
            return softplus(self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))

    hf.model.layers[1].mlp = Odd(hf.model.layers[1].mlp)
    with pytest.raises(ModelError, match="layer 1"):
        wrap_model(hf, tokenizer, name="odd")


def test_weights_with_nan_are_refused():
    hf, tokenizer = tiny_model("llama")
    with torch.no_grad():
        hf.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        wrap_model(hf, tokenizer, name="nan")


def test_norms_after_the_add_are_refused():
    config = OPTConfig(
        vocab_size=99, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
        do_layer_norm_before=False, word_embed_proj_dim=16,
    )  # fmt: skip
    with pytest.raises(ModelError):
        wrap_model(OPTForCausalLM(config), tiny_tokenizer(), name="opt-350m-like")


def test_an_unknown_family_with_known_names_opens_and_one_without_is_refused():
    hf, tokenizer = tiny_model("qwen3")
    hf.config.model_type = "brand_new"
    model = wrap_model(hf, tokenizer, name="new")
    assert model.architecture.name == "llama (by its names)"
    with pytest.raises(ModelError, match="Add a row"):
        find_architecture("mamba", nn.Linear(2, 2))


def test_a_compiled_model_is_refused():
    hf, tokenizer = tiny_model("llama")
    with pytest.raises(ModelError, match="compile"):
        wrap_model(torch.compile(hf), tokenizer, name="compiled")


def test_a_model_in_memory_needs_its_tokenizer_and_keeps_its_place():
    hf, tokenizer = tiny_model("llama")
    with pytest.raises(InputError, match="tokenizer"):
        load_model(hf)
    with pytest.raises(InputError, match="keeps its dtype and device"):
        load_model(hf, tokenizer, dtype="bfloat16")
    model = load_model(hf, tokenizer)
    assert model.hf is hf


def test_a_folder_loads_and_a_wrong_name_says_what_is_possible(tmp_path):
    hf, tokenizer = tiny_model("gpt2")
    hf.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    model = load_model(tmp_path / "m", dtype="float64", device="cpu")
    assert (model.dtype, model.n_layers, model.n_neurons) == (torch.float64, 3, 48)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    for name in ("empty", "file.txt", "absent.gguf"):
        with pytest.raises(ModelError) as caught:
            load_model(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="dtype"):
        load_model(tmp_path / "m", dtype="int8")
    with pytest.raises(InputError, match="device_map"):
        load_model(tmp_path / "m", device="cpu", device_map="auto")


def test_fingerprint_survives_the_dtype_and_sees_one_changed_layer(tmp_path):
    base = opened("llama")
    hf, tokenizer = tiny_model("llama")
    hf.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_model(tmp_path, dtype="bfloat16").fingerprint == base.fingerprint
    with torch.no_grad():
        hf.model.layers[2].mlp.up_proj.weight.mul_(1.1)
    assert wrap_model(hf, tokenizer, name="x").fingerprint != base.fingerprint
    assert opened("llama", seed=1).fingerprint != base.fingerprint


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_fingerprint_sees_every_single_erased_neuron(family, tmp_path):
    model = opened(family)
    seen = {model.fingerprint}
    down = model.sites[1].experts.down_proj if family == "mixtral" else model.sites[1].down.weight
    with torch.no_grad():
        for neuron in range(12):
            kept = down.clone()
            (down if family == "gpt2" else down.transpose(-1, -2))[..., neuron, :] = 0
            seen.add(fingerprint(model.hf))
            down.copy_(kept)
    assert len(seen) == 13
    assert fingerprint(model.hf) == model.fingerprint


def test_verify_can_open_what_load_refuses(tmp_path):
    hf, tokenizer = tiny_model("llama")
    with torch.no_grad():
        hf.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    hf.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="NaN"):
        load_model(tmp_path)
    result = verify(open_unchecked(str(tmp_path)))
    assert not result.passed and not result.rows[0].passed


def test_a_device_map_with_offload_gives_the_same_scores(tmp_path):
    from brodmann.data import Example
    from brodmann.localize import locate

    hf, tokenizer = tiny_model("gemma2")
    hf.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "lm_head": "cpu",
              "model.rotary_emb": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk",
              "model.layers.2": "disk"}  # fmt: skip
    from transformers import AutoModelForCausalLM

    offloaded = AutoModelForCausalLM.from_pretrained(
        tmp_path, device_map=places, offload_folder=tmp_path / "off"
    )
    examples = [Example("1+2=", "3", delimiter="")]
    there = locate(load_model(offloaded, tokenizer), examples)
    here = locate(wrap_model(hf, tokenizer, name="x"), examples)
    torch.testing.assert_close(there.values, here.values)
    assert there.provenance["fingerprint"] == here.provenance["fingerprint"]
