"""Slow, obvious forward passes of two tiny models in which any edge can be removed.

Written from the papers' formulas on plain tensors: a dictionary of what every component sends,
and for each receiver the sum of what it is sent. Nothing of brodmann is used.
"""

import torch
from torch import Tensor


class LlamaLike:
    """Llama's forward: RMS norms, rotary positions, grouped-query attention, gated MLPs."""

    def __init__(self, hf):
        self.w = {name: value.detach().double() for name, value in hf.named_parameters()}
        config = hf.config
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.key_heads = config.num_key_value_heads
        self.d = config.hidden_size // self.heads
        self.eps, self.theta = config.rms_norm_eps, config.rope_parameters["rope_theta"]

    def loss(self, ids: list[int], target: int, gone: set[tuple[str, str]], instead) -> float:
        """-log P(target) without the edges ``gone``; ``instead[sender]`` (or nothing) is read."""
        sent = {"embedding": self.w["model.embed_tokens.weight"][ids]}

        def read(receiver: str) -> Tensor:
            return sum(
                instead.get(name, 0 * value) if (name, receiver) in gone else value
                for name, value in sent.items()
            )

        for layer in range(self.layers):
            p = f"model.layers.{layer}."
            gain = self.w[p + "input_layernorm.weight"]
            keys, values, fresh = [], [], {}
            for g in range(self.key_heads):
                rows = slice(g * self.d, (g + 1) * self.d)
                k = self._rms(read(f"a{layer}.k{g}"), gain) @ self._rows(p, "k", rows).T
                keys.append(self._rotated(k))
                values.append(self._rms(read(f"a{layer}.v{g}"), gain) @ self._rows(p, "v", rows).T)
            for h in range(self.heads):
                rows = slice(h * self.d, (h + 1) * self.d)
                q = self._rms(read(f"a{layer}.q{h}"), gain) @ self._rows(p, "q", rows).T
                g = h // (self.heads // self.key_heads)
                seen = _attended(self._rotated(q), keys[g], values[g])
                fresh[f"a{layer}.h{h}"] = seen @ self.w[p + "self_attn.o_proj.weight"][:, rows].T
            sent |= fresh
            x = self._rms(read(f"m{layer}"), self.w[p + "post_attention_layernorm.weight"])
            gate = x @ self.w[p + "mlp.gate_proj.weight"].T
            up = x @ self.w[p + "mlp.up_proj.weight"].T
            down = self.w[p + "mlp.down_proj.weight"]
            sent[f"m{layer}"] = (gate * torch.sigmoid(gate) * up) @ down.T
        self.sent = sent
        x = self._rms(read("logits"), self.w["model.norm.weight"])[-1]
        head = self.w.get("lm_head.weight", self.w["model.embed_tokens.weight"])
        return -float(torch.log_softmax(head @ x, 0)[target])

    def _rows(self, prefix: str, kind: str, rows: slice) -> Tensor:
        return self.w[f"{prefix}self_attn.{kind}_proj.weight"][rows]

    def _rms(self, x: Tensor, gain: Tensor) -> Tensor:
        return gain * x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()

    def _rotated(self, x: Tensor) -> Tensor:
        half = self.d // 2
        speed = self.theta ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(len(x), dtype=torch.float64)[:, None] * speed
        a, b = x[:, :half], x[:, half:]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Gpt2Like:
    """GPT-2's forward: layer norms, learned positions, fused queries, keys and values, biases."""

    def __init__(self, hf):
        self.w = {name: value.detach().double() for name, value in hf.named_parameters()}
        self.layers, self.heads = hf.config.n_layer, hf.config.n_head
        self.width, self.d = hf.config.n_embd, hf.config.n_embd // hf.config.n_head
        self.eps = hf.config.layer_norm_epsilon

    def loss(self, ids: list[int], target: int, gone: set[tuple[str, str]], instead) -> float:
        """-log P(target) without the edges ``gone``; ``instead[sender]`` (or nothing) is read."""
        words, places = self.w["transformer.wte.weight"], self.w["transformer.wpe.weight"]
        sent = {"embedding": words[ids] + places[: len(ids)]}
        biases = torch.zeros(self.width, dtype=torch.float64)

        def read(receiver: str) -> Tensor:
            return biases + sum(
                instead.get(name, 0 * value) if (name, receiver) in gone else value
                for name, value in sent.items()
            )

        for layer in range(self.layers):
            p = f"transformer.h.{layer}."
            weight, bias = self.w[p + "attn.c_attn.weight"], self.w[p + "attn.c_attn.bias"]
            fresh = {}
            for h in range(self.heads):
                made = {}
                for part, kind in enumerate("qkv"):
                    start = part * self.width + h * self.d
                    own = slice(start, start + self.d)
                    x = self._norm(read(f"a{layer}.{kind}{h}"), p + "ln_1")
                    made[kind] = x @ weight[:, own] + bias[own]
                seen = _attended(made["q"], made["k"], made["v"])
                rows = slice(h * self.d, (h + 1) * self.d)
                fresh[f"a{layer}.h{h}"] = seen @ self.w[p + "attn.c_proj.weight"][rows]
            sent |= fresh
            biases = biases + self.w[p + "attn.c_proj.bias"]
            x = self._norm(read(f"m{layer}"), p + "ln_2")
            z = x @ self.w[p + "mlp.c_fc.weight"] + self.w[p + "mlp.c_fc.bias"]
            z = 0.5 * z * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3)))
            sent[f"m{layer}"] = z @ self.w[p + "mlp.c_proj.weight"] + self.w[p + "mlp.c_proj.bias"]
        self.sent = sent
        x = self._norm(read("logits"), "transformer.ln_f")[-1]
        return -float(torch.log_softmax(words @ x, 0)[target])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return x * self.w[name + ".weight"] + self.w[name + ".bias"]


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.T / q.shape[-1] ** 0.5
    future = torch.ones(len(q), len(q)).triu(1).bool()
    return torch.softmax(scores.masked_fill(future, -torch.inf), -1) @ v


def edges_by_hand(layers: int, heads: int, key_heads: int) -> list[tuple[str, str]]:
    """Every edge of a sequential model, by the names of its ends."""
    found, before = [], ["embedding"]
    for layer in range(layers):
        inputs = [f"a{layer}.q{h}" for h in range(heads)]
        inputs += [f"a{layer}.{kind}{g}" for kind in "kv" for g in range(key_heads)]
        found += [(sender, receiver) for receiver in inputs for sender in before]
        before += [f"a{layer}.h{h}" for h in range(heads)]
        found += [(sender, f"m{layer}") for sender in before]
        before.append(f"m{layer}")
    return found + [(sender, "logits") for sender in before]
