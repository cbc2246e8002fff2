"""Where the neurons are: one declarative row per naming pattern of Hugging Face decoders.

A row names modules relative to the decoder (``hf.get_decoder()``) and to one of its layers; it
holds no code. :mod:`brodmann.models.selfcheck` proves the row on the opened model, so a row that
is not true of a model is refused instead of giving wrong numbers.

To add a family whose names are already here, add its ``model_type`` to a row's ``families``; for
a new pattern add a row. Both need an entry in ``tests/tiny`` (CONTRIBUTING, "Add an architecture").
"""

from dataclasses import dataclass, replace

from torch import nn

from brodmann.errors import ModelError


@dataclass(frozen=True, slots=True)
class Architecture:
    """The names that lead to the MLP neurons of one family of decoders.

    Attributes:
        name: the pattern's name, after its best-known family.
        families: the Hugging Face ``model_type`` values it is true of.
        layers: the layer list, relative to the decoder.
        mlp: the MLP, relative to a layer; empty when its parts sit on the layer itself (OPT).
        up: the projection into the neurons, relative to the MLP.
        gate: the gate's projection; None in MLPs without one.
        gate_up: gate and up in one matrix (gate rows first); ``up`` and ``gate`` are then unused.
        down: the projection back to the residual stream.
        activation: the module of the non-linearity, relative to the MLP.
        experts: the experts' module relative to the MLP of mixture-of-experts layers.
        post_norm: the norm, relative to the layer, that the MLP output passes before it is added.
        final_norm: the norm before the unembedding, relative to the decoder.
        residual_multiplier: config key of a factor on the MLP output.
        logit_scale: config key of a factor on the logits.
        logit_divisor: config key of a divisor of the logits.
        soft_cap: config key of the logits' soft-cap.
        attention: how its attention is driven for single tokens: through transformers' attention
            ``"interface"``, through its attention modules' own ``_attn`` (``"method"``), or not
            at all (``"opaque"``).
        self_attention: the attention module, relative to a layer.
        query: the projection into the queries, relative to the attention module; so are ``key``,
            ``value``, ``fused`` and ``attention_output``.
        key: the projection into the keys.
        value: the projection into the values.
        fused: queries, keys and values in one matrix; ``query``, ``key`` and ``value`` are then
            unused.
        fused_layout: how its rows follow each other: ``"blocks"`` (all queries, all keys, all
            values) or ``"groups"`` (for each key head: its queries, its key, its value).
        attention_output: the projection of all heads' results back to the residual stream.
        attention_post_norm: the norm, relative to the layer, that the attention's output passes
            before it is added.
    """

    name: str
    families: tuple[str, ...]
    layers: str = "layers"
    mlp: str = "mlp"
    up: str = "up_proj"
    gate: str | None = "gate_proj"
    gate_up: str | None = None
    down: str = "down_proj"
    activation: str = "act_fn"
    experts: str | None = None
    post_norm: str | None = None
    final_norm: str = "norm"
    residual_multiplier: str | None = None
    logit_scale: str | None = None
    logit_divisor: str | None = None
    soft_cap: str | None = None
    attention: str = "interface"
    self_attention: str = "self_attn"
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    fused: str | None = None
    fused_layout: str = "blocks"
    attention_output: str = "o_proj"
    attention_post_norm: str | None = None

    @property
    def gated(self) -> bool:
        """Whether z = act(gate x) * up x; else z = act(up x)."""
        return self.gate is not None or self.gate_up is not None


_LLAMA = Architecture(
    "llama",
    (
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma",
        "smollm3",
        "stablelm",
        "olmo",
        "ernie4_5",
    ),
)
_PHI3 = Architecture(
    "phi3", ("phi3",), gate_up="gate_up_proj", activation="activation_fn", fused="qkv_proj"
)
_GPT2 = Architecture(
    "gpt2",
    ("gpt2", "gpt_bigcode"),
    layers="h",
    up="c_fc",
    gate=None,
    down="c_proj",
    activation="act",
    final_norm="ln_f",
    self_attention="attn",
    fused="c_attn",
    attention_output="c_proj",
)
_SPLIT = replace(_GPT2, self_attention="self_attn", fused=None, attention_output="out_proj")
_NEOX = Architecture(
    "gpt_neox",
    ("gpt_neox",),
    up="dense_h_to_4h",
    gate=None,
    down="dense_4h_to_h",
    activation="act",
    final_norm="final_layer_norm",
    self_attention="attention",
    fused="query_key_value",
    fused_layout="groups",
    attention_output="dense",
)
_POST_NORM = "post_feedforward_layernorm"
_ATTENTION_POST_NORM = "post_attention_layernorm"

ARCHITECTURES: tuple[Architecture, ...] = (
    _LLAMA,
    replace(_LLAMA, name="granite", families=("granite",),
            residual_multiplier="residual_multiplier", logit_divisor="logits_scaling"),
    replace(_LLAMA, name="cohere", families=("cohere", "cohere2"), logit_scale="logit_scale"),
    replace(_LLAMA, name="gemma2", families=("gemma2", "gemma3_text"),
            post_norm=_POST_NORM, soft_cap="final_logit_softcapping",
            attention_post_norm=_ATTENTION_POST_NORM),
    replace(_LLAMA, name="olmo2", families=("olmo2", "olmo3"), post_norm=_POST_NORM,
            attention_post_norm=_ATTENTION_POST_NORM),
    replace(_LLAMA, name="nemotron", families=("nemotron",), gate=None),
    replace(_LLAMA, name="mixtral", families=("mixtral", "qwen3_moe"), experts="experts"),
    _PHI3,
    replace(_PHI3, name="glm4", families=("glm4",), post_norm="post_mlp_layernorm", fused=None,
            attention_post_norm="post_self_attn_layernorm"),
    _GPT2,
    replace(_SPLIT, name="gpt_neo", families=("gpt_neo",), attention="opaque",
            self_attention="attn.attention"),
    replace(_SPLIT, name="starcoder2", families=("starcoder2",), layers="layers",
            final_norm="norm", attention_output="o_proj"),
    replace(_SPLIT, name="gptj", families=("gptj",), up="fc_in", down="fc_out",
            attention="method", self_attention="attn"),
    replace(_SPLIT, name="phi", families=("phi",), layers="layers", up="fc1", down="fc2",
            activation="activation_fn", final_norm="final_layernorm", attention_output="dense"),
    replace(_SPLIT, name="opt", families=("opt",), layers="layers", mlp="", up="fc1", down="fc2",
            activation="activation_fn", final_norm="final_layer_norm"),
    _NEOX,
    replace(_NEOX, name="bloom", families=("bloom",), layers="h", activation="gelu_impl",
            final_norm="ln_f", attention="opaque", self_attention="self_attention"),
    replace(_NEOX, name="falcon", families=("falcon",), layers="h", final_norm="ln_f",
            attention="opaque", self_attention="self_attention"),
    replace(_NEOX, name="mpt", families=("mpt",), layers="blocks", mlp="ffn", up="up_proj",
            down="down_proj", final_norm="norm_f", attention="opaque", self_attention="attn",
            fused="Wqkv", fused_layout="blocks", attention_output="out_proj"),
)  # fmt: skip


def supported_families() -> list[str]:
    """The ``model_type`` values that a row names."""
    return sorted(family for row in ARCHITECTURES for family in row.families)


def find_architecture(model_type: str, decoder: nn.Module) -> Architecture:
    """The row for a family, or for a family that no row names, the row whose names it uses.

    A row found by names alone is only a guess; the self-check decides.

    Raises:
        ModelError: no row names the family and no row's names exist in the model.
    """
    for row in ARCHITECTURES:
        if model_type in row.families:
            return row
    for row in ARCHITECTURES:
        if _names_exist(row, decoder):
            return replace(row, name=f"{row.name} (by its names)")
    raise ModelError(
        f"Expected a decoder of a supported family ({', '.join(supported_families())}) or one "
        f"with the same module names; got '{model_type}'. Add a row to "
        "brodmann/models/architectures.py (CONTRIBUTING, 'Add an architecture')."
    )


def submodule(root: nn.Module, path: str) -> nn.Module | None:
    """The module at a dotted path below ``root`` (``root`` itself for an empty path), or None."""
    try:
        return root.get_submodule(path)
    except AttributeError:
        return None


def _names_exist(row: Architecture, decoder: nn.Module) -> bool:
    layers = submodule(decoder, row.layers)
    if not isinstance(layers, nn.ModuleList) or len(layers) == 0:
        return False
    mlp = submodule(layers[-1], row.mlp)
    if mlp is None or submodule(decoder, row.final_norm) is None:
        return False
    inward = (row.gate_up,) if row.gate_up else (row.up, row.gate)
    inside = (*inward, row.activation, row.experts if row.experts else row.down)
    if any(submodule(mlp, name) is None for name in inside if name):
        return False
    return row.post_norm is None or submodule(layers[-1], row.post_norm) is not None
