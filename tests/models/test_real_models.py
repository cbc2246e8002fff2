"""The bundled models open as language models."""


def test_smollm2_is_the_plain_case(smollm2):
    assert (smollm2.n_layers, smollm2.n_neurons, smollm2.n_neurons_total) == (30, 1536, 46_080)
    assert smollm2.quantisation == "Q4_1"
    assert smollm2.tokenizer.padding_side == "right"
    assert smollm2.tokenizer("7*3=")["input_ids"][0] != smollm2.tokenizer.bos_token_id


def test_gemma3_is_the_post_norm_case(gemma3):
    assert (gemma3.n_layers, gemma3.n_neurons, gemma3.n_neurons_total) == (18, 2048, 36_864)
    assert gemma3.quantisation == "Q4_K_M"
    assert gemma3.tokenizer.padding_side == "left"
    assert gemma3.tokenizer("7*3=")["input_ids"][0] == gemma3.tokenizer.bos_token_id
