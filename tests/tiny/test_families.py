"""The tiny models are what the tests that use them take them for."""

import pytest
import torch

from tests.tiny import MOE_FAMILIES, POST_NORM_FAMILIES, TINY_FAMILIES, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_logits_are_finite_and_spread_and_the_same_in_float64(name):
    model, tokenizer = tiny_model(name)
    double, _ = tiny_model(name, torch.float64)
    ids = tokenizer("12 + 3 = 15 加 the", return_tensors="pt")["input_ids"]
    logits = model(input_ids=ids).logits
    assert logits.isfinite().all()
    assert logits.std() > 0.5
    assert logits.softmax(-1).max() < 0.9
    torch.testing.assert_close(logits.double(), double(input_ids=ids).logits, rtol=1e-3, atol=1e-3)


def test_each_call_gives_a_copy_of_the_same_weights():
    first, _ = tiny_model("gemma2")
    second, _ = tiny_model("gemma2")
    weight = second.model.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        first.model.layers[0].mlp.down_proj.weight.zero_()
    assert weight.abs().sum() > 0
    assert not torch.equal(
        weight, tiny_model("gemma2", seed=1)[0].model.layers[0].mlp.down_proj.weight
    )


def test_post_norm_families_are_those_with_a_norm_after_the_mlp():
    def has_one(name):
        modules = dict(tiny_model(name)[0].named_modules())
        return any(
            key.endswith(("post_feedforward_layernorm", "post_mlp_layernorm")) for key in modules
        )

    assert tuple(filter(has_one, TINY_FAMILIES)) == tuple(
        sorted(POST_NORM_FAMILIES, key=TINY_FAMILIES.index)
    )


def test_moe_families_are_those_with_experts_and_qwen3_moe_is_ragged():
    def has_experts(name):
        return any(key.endswith("experts") for key, _ in tiny_model(name)[0].named_modules())

    assert tuple(filter(has_experts, TINY_FAMILIES)) == MOE_FAMILIES
    layers = tiny_model("qwen3_moe")[0].model.layers
    assert layers[1].mlp.down_proj.weight.shape == (32, 48)
    assert layers[0].mlp.experts.down_proj.shape == (4, 32, 16)


@pytest.mark.parametrize(
    "name", ["mistral", "gemma2", "gemma3_text", "gpt_neo", "olmo3", "cohere2"]
)
def test_sliding_windows_are_in_play(name):
    model, tokenizer = tiny_model(name)
    ids = tokenizer("0123456789 0123456789 = ", return_tensors="pt")["input_ids"]
    windowed = model(input_ids=ids).logits[0, -1]
    config = model.config
    config.update(
        {key: 10_000 for key in ("sliding_window", "window_size") if hasattr(config, key)}
    )
    wide = type(model)(config).eval()
    weights = {k: v for k, v in model.state_dict().items() if not k.endswith("attention.bias")}
    wide.load_state_dict(weights, strict=False)
    assert not torch.allclose(windowed, wide(input_ids=ids).logits[0, -1], atol=1e-4)


@pytest.mark.parametrize("kind", ["chars", "bytes"])
@pytest.mark.parametrize("bos", [False, True])
def test_tokenizers_have_offsets_and_decode_what_they_encoded(kind, bos):
    tokenizer = tiny_tokenizer(kind, bos=bos)
    text = "3 + 4 = 7\n三加四等于七。 Yes 12"
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.decode(encoded["input_ids"], skip_special_tokens=True) == text
    assert (encoded["input_ids"][0] == tokenizer.bos_token_id) == bos
    spans = encoded["offset_mapping"][bos:]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert tokenizer.unk_token_id not in encoded["input_ids"]


def test_only_the_byte_tokenizer_joins_a_space_and_a_digit():
    assert tiny_tokenizer("chars").tokenize("= 7") == ["=", " ", "7"]
    assert tiny_tokenizer("bytes").tokenize("= 7") == ["=", "Ġ7"]
    assert tiny_tokenizer("bytes").tokenize("= 12") == ["=", "Ġ12"]


def test_padding_variants():
    left = tiny_tokenizer(padding_side="left")(["1", "123"], padding=True)["input_ids"]
    right = tiny_tokenizer()(["1", "123"], padding=True)["input_ids"]
    assert left[0] == right[0][::-1]
    assert tiny_tokenizer(pad=False).pad_token is None
