"""Causal tracing the obvious way: one forward pass for each (token, layer), with hooks.

As the peer does it: a batch of one clean and R corrupted copies; the hooks copy what the clean
row has into the others. Nothing of brodmann's runs here.
"""

import torch
from torch import Tensor, nn

SUBLAYERS: dict[str, tuple[str, str]] = {
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
    "gptj": ("attn.out_proj", "mlp"),
    "gpt_neo": ("attn.attention.out_proj", "mlp"),
    "gpt_neox": ("attention.dense", "mlp"),
    "opt": ("self_attn.out_proj", "fc2"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "falcon": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "mpt": ("attn.out_proj", "ffn.down_proj"),
    "gemma2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "gemma3_text": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "olmo3": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "glm4": ("post_self_attn_layernorm", "post_mlp_layernorm"),
}
"""Model type -> the modules whose outputs are added; ``self_attn`` and ``mlp`` of all others."""

LAYERS = ("layers", "h", "blocks", "decoder.layers")


class Tracer:
    """Restores and reruns, one cell of the grid at a time."""

    def __init__(
        self, hf: nn.Module, ids: list[int], start: int, noise: Tensor, positions: list[int]
    ) -> None:
        """Read ``ids`` with ``noise`` [R, s, D] on the embeddings from ``start`` on."""
        self.hf, self.start, self.noise, self.positions = hf, start, noise, positions
        self.tokens = torch.tensor([ids]).expand(len(noise) + 1, -1)
        decoder = hf.get_decoder()
        modules = dict(decoder.named_modules())
        self.layers = next(modules[name] for name in LAYERS if name in modules)
        own = ("self_attn", "mlp")
        self.attention, self.mlp = SUBLAYERS.get(hf.config.model_type, own)

    def probabilities(self, answer: list[int], hooks: dict[nn.Module, int]) -> Tensor:
        """P of each answer token in every row [R + 1, A], with clean outputs put in at tokens."""
        handles = [self.hf.get_input_embeddings().register_forward_hook(self._corrupt)]
        for module, token in hooks.items():
            handles.append(module.register_forward_hook(self._restoring(token)))
        try:
            with torch.no_grad():
                logits = self.hf(input_ids=self.tokens, use_cache=False).logits
        finally:
            for handle in handles:
                handle.remove()
        return logits[:, self.positions].softmax(-1)[:, range(len(answer)), answer]

    def cell(self, kind: str, token: int, layer: int, window: int, answer: list[int]) -> Tensor:
        """P [R + 1, A] with one cell of the grid restored."""
        if kind == "residual":
            return self.probabilities(answer, {self.layers[layer]: token})
        path = self.mlp if kind == "mlp" else self.attention
        near = range(max(0, layer - window // 2), min(len(self.layers), layer - (-window // 2)))
        hooks = {self.layers[at].get_submodule(path): token for at in near}
        return self.probabilities(answer, hooks)

    def _corrupt(self, _: nn.Module, args: tuple, output: Tensor) -> Tensor:
        output = output.clone()
        output[1:, self.start : self.start + self.noise.shape[1]] += self.noise.to(output)
        return output

    def _restoring(self, token: int):
        def restore(_: nn.Module, args: tuple, output):
            whole = output[0] if isinstance(output, tuple) else output
            rows = whole.clone().view(*self.tokens.shape, -1)
            rows[1:, token] = rows[0, token]
            rows = rows.view_as(whole)
            return (rows, *output[1:]) if isinstance(output, tuple) else rows

        return restore
