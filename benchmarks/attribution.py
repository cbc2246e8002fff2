"""Integrated gradients (CNL, Knowledge Neurons): the tail engine against whole-sequence loops.

Run: python benchmarks/attribution.py [MODEL] [--lengths 21,43,85,128,200] [--rounds R]
     [--layers N | --all-layers] [--package]

One process, float32, frozen parameters, 20 gradient evaluations at the same nodes on all sides,
which take turns. The peers' loop reads each layer's neurons with one forward pass, then runs 20
copies of the whole sequence in one batch with these replaced at the last token, and takes the
gradient of softmax(logits[:, -1]); "lean" is that loop with logits of the last token only. Timed on
N layers spread over the depth, it is multiplied up to all: a layer's backward pass grows evenly
with the layers above it, so that the mean of such layers is that of all.

Scores of every layer that was timed must agree to 1e-4, or the exit code is 1. For this the loop's
softmax is in float64, which costs it milliseconds of seconds: torch's float32 softmax over a
vocabulary is by itself wrong by up to 1e-4 on a CPU.

With --package, the loop of the PyPI package knowledge-neurons is timed too, at its own site (in
front of the non-linearity) and with its own rule, on a GPT-2 of the usual small size with random
weights; scores must agree to 1e-3. Install it with: pip install knowledge-neurons einops --no-deps
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import brodmann as bm
from brodmann.localize.attribution import Attribution
from brodmann.localize.checkpoint import Checkpoint
from brodmann.localize.quadrature import norm_nodes, quadrature_nodes
from brodmann.localize.run import Sample
from brodmann.localize.targets import Reading
from brodmann.models import LanguageModel
from brodmann.models.norms import read_norm
from brodmann.models.sites import DenseSite

SPEC = "arithmetic/add:template=plain,max=999"
FACT = "The capital of France, a country in the west of Europe that is known for its cheese, is "
STEPS = 20
SAMPLES = 2
ANSWER_TOKENS = 2
RULE = "gauss-legendre"
COLUMNS = (
    "    T preparing  brodmann   refined     naive      lean  naive/b   lean/b   GFLOP/s  "
    "matmul's   share difference  path"
)
ROWS = 600  # of the bare matrix products: 20 scalings of 30 layers, as smollm2's head gets them


def engine(
    model: LanguageModel, samples: Sequence[Sample], **options: Any
) -> tuple[Callable[[], list[Tensor]], float, str]:
    """A warm run of brodmann that gives the first sample's scores; preparation's time; the path."""
    start = time.perf_counter()
    attribution = Attribution(model, samples, steps=STEPS, memory_gb=None, **options)
    (batches,) = attribution.kept_plan(Checkpoint(None, {}), samples, "auto")
    preparation = time.perf_counter() - start

    def run() -> list[Tensor]:
        scores = [attribution([samples[number] for number in batch]) for batch in batches]
        return [layer[0] for layer in scores[0]]

    run()
    return run, preparation, attribution.path


def samples_of(model: LanguageModel, length: int) -> list[Sample]:
    """Solved sums of so many tokens; the last two are predicted."""
    examples = bm.load_examples(SPEC, split="train", limit=200)
    lines = [example.prompt + example.delimiter + example.answer for example in examples]
    texts = ["\n".join(lines[: len(lines) - number]) for number in range(SAMPLES)]
    positions = tuple(range(length - ANSWER_TOKENS, length))
    made = []
    for number, tokens in enumerate(model.tokenizer(texts).input_ids):
        # The first token is kept: many models need it to be what they always start with.
        ids = (tokens[0], *tokens[-length:])
        made.append(Sample(0, number, Reading(ids[:-1], positions, ids[-ANSWER_TOKENS:])))
    return made


def naive_layer(
    model: LanguageModel, ids: Tensor, token: int, layer: int, **options: Any
) -> Tensor:
    """One layer's scores of one answer token [n], by whole sequences."""
    site: Any = model.sites[layer]
    seen: list[Tensor] = []
    hook = site.down.register_forward_hook(lambda _, args, output: seen.extend([args[0], output]))
    with torch.no_grad():
        model.hf(input_ids=ids, use_cache=False, **options)
    hook.remove()
    clean, written = (values[0, -1] for values in seen)
    alphas, weights = nodes(model, layer, written)
    scaled = (alphas[:, None] * clean.double()).to(clean.dtype).requires_grad_()

    def replace(_: object, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        values = args[0].clone()
        values[:, -1] = scaled
        return (values,)

    hook = site.down.register_forward_pre_hook(replace)
    copies = ids.expand(len(scaled), -1)
    logits = model.hf(input_ids=copies, use_cache=False, **options).logits[:, -1]
    hook.remove()
    probability = torch.softmax(logits.double(), -1)[:, token].sum()
    (gradient,) = torch.autograd.grad(probability, scaled)
    return clean * (weights.to(gradient)[:, None] * gradient).sum(0)


def nodes(model: LanguageModel, layer: int, written: Tensor) -> tuple[Tensor, Tensor]:
    """The nodes that brodmann takes: they follow a norm on the MLP's output where there is one."""
    found = quadrature_nodes(RULE, STEPS)
    if (module := model.sites[layer].post_norm) is not None:
        norm = read_norm(module, model.width, model.device, model.dtype)
        ratio = written.double().square().mean().sqrt().cpu() / norm.epsilon**0.5
        found = norm_nodes(*found, ratio[None])
    places, weights = (numbers.flatten().to(written.device) for numbers in found)
    return places, weights


def naive(
    model: LanguageModel, reading: Reading, layers: Sequence[int], **options: Any
) -> dict[int, Tensor]:
    """Layer -> scores [n], the mean over a sample's answer tokens."""
    ids = torch.tensor([reading.ids], device=model.device)
    return {
        layer: torch.stack([
            naive_layer(model, ids[:, : at + 1], target, layer, **options)
            for at, target in zip(reading.positions, reading.targets, strict=True)
        ]).mean(0)
        for layer in layers
    }  # fmt: skip


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def in_turns(rounds: int, sides: Mapping[str, Callable[[], Any]]) -> tuple[dict, dict]:
    """Each side's seconds (median over rounds in which all take their turn), and what it gives."""
    found = [{name: seconds(side) for name, side in sides.items()} for _ in range(rounds)]
    times = {name: statistics.median(turn[name][0] for turn in found) for name in sides}
    return times, {name: found[-1][name][1] for name in sides}


def floating_point_operations(model: LanguageModel, length: int) -> float:
    """Of brodmann per answer token, counted from shapes; only matrix products count.

    Per token and layer:  row = 2 P + 4 H d T   P weights; H query heads of width d see T keys
    Tails start behind each of L layers and pass all above it, forward and backward (to the inputs
    alone: parameters are frozen), S of them, and one more forward for the check of completeness:
                          (2 S + 1) * L (L - 1) / 2 * row
    Their unembedding, forward and backward:  (S + 1) * L * 4 D V
    The prefix, shared by a sample's answer tokens; on average a token sees half of the keys:
                          T * L * (2 P + 2 H d T) / answer tokens
    """
    config, depth = model.hf.config.get_text_config(), model.n_layers
    heads = config.num_attention_heads
    seen = heads * (getattr(config, "head_dim", None) or model.width // heads) * length
    parameters = model.sites[-1].layer_module.parameters()
    weights = sum(parameter.numel() for parameter in parameters if parameter.dim() == 2)
    tails = (2 * STEPS + 1) * depth * (depth - 1) / 2 * (2 * weights + 4 * seen)
    head = (STEPS + 1) * depth * 4 * model.hf.get_output_embeddings().weight.numel()
    return tails + head + length * depth * (2 * weights + 2 * seen) / ANSWER_TOKENS


def matmul_rate(model: LanguageModel) -> float:
    """The best rate of bare products with an MLP's and with the head's shape, FLOP/s."""

    def rate(columns: int) -> float:
        left = torch.randn(ROWS, model.width, device=model.device)
        right = torch.randn(model.width, columns, device=model.device)
        fastest = min(seconds(lambda: torch.mm(left, right))[0] for _ in range(10))
        return 2 * ROWS * model.width * columns / fastest

    return max(rate(model.n_neurons), rate(len(model.hf.get_output_embeddings().weight)))


def difference(found: Sequence[Tensor], expected: Mapping[int, Tensor]) -> float:
    """The largest relative difference of a layer."""
    return max(float((found[at] - e).norm() / e.norm()) for at, e in expected.items())


def compare(model: LanguageModel, length: int, layers: Sequence[int], rounds: int) -> float:
    """Print the line of one length; how far apart the sides are."""
    samples = samples_of(model, length)
    rule = {"target": "mean", "site": "down_in", "quadrature": RULE}
    run, preparation, path = engine(model, samples, refine=False, **rule)
    refined, *_ = engine(model, samples, refine=True, **rule)
    naive(model, samples[0].reading, layers[-1:])  # warm up
    rate = matmul_rate(model)
    times, scores = in_turns(rounds, {
        "ours": run,
        "refined": refined,
        "naive": lambda: naive(model, samples[0].reading, layers),
        "lean": lambda: naive(model, samples[0].reading, layers, logits_to_keep=1),
    })  # fmt: skip
    ours, refinement = (times[name] / SAMPLES / ANSWER_TOKENS for name in ("ours", "refined"))
    scale = model.n_layers / len(layers) / ANSWER_TOKENS
    full, lean = times["naive"] * scale, times["lean"] * scale
    reached = floating_point_operations(model, length) / ours
    apart = difference(scores["ours"], scores["naive"])
    print(
        f"{length:5} {preparation:9.2f} {ours:9.3f} {refinement:9.3f} {full:9.2f} {lean:9.2f} "
        f"{full / ours:8.1f} {lean / ours:8.1f} {reached / 1e9:9.1f} {rate / 1e9:9.1f} "
        f"{reached / rate:7.1%} {apart:10.1e}  {path}",
        flush=True,
    )
    return apart


def compare_package(
    model: LanguageModel, peer: Any, length: int, layers: Sequence[int], rounds: int
) -> float:
    """Print the line of one prompt's length; how far apart the sides are."""
    tokenizer: Any = model.tokenizer
    tokens = tokenizer(FACT * length).input_ids[:length]
    prompt, target = tokenizer.decode(tokens, skip_special_tokens=True), tokenizer.encode(" Paris")
    ids = tuple(tokenizer(prompt).input_ids)
    if len(target) != 1:
        raise SystemExit("--package needs a tokenizer with ' Paris' in one token: smollm2-135m.")
    sample = Sample(0, 0, Reading(ids, (len(ids) - 1,), tuple(target)))
    rule = {"target": "first", "site": "up_pre", "quadrature": "mean"}
    run, *_ = engine(model, [sample], refine=False, **rule)

    def loop(layers: Sequence[int] = layers) -> dict[int, Tensor]:
        given = {"batch_size": STEPS, "steps": STEPS}
        return {at: peer.get_scores_for_layer(prompt, " Paris", at, **given) for at in layers}

    loop(layers[-1:])  # warm up
    times, scores = in_turns(rounds, {"ours": run, "package": loop})
    ours, theirs = times["ours"], times["package"] * model.n_layers / len(layers)
    apart = difference(scores["ours"], scores["package"])
    print(f"{len(ids):5} {ours:9.3f} {theirs:9.2f} {theirs / ours:8.1f} {apart:10.1e}", flush=True)
    return apart


def announced(model: LanguageModel, options: argparse.Namespace, columns: str) -> list[int]:
    """The layers that the peers are timed on, spread over the depth; says which."""
    last = model.n_layers - 1
    count = last + 1 if options.all_layers else min(options.layers, last + 1)
    layers = [round(last * i / (count - 1)) for i in range(count)] if count > 1 else [last // 2]
    how = "all layers" if count > last else f"layers {layers}, EXTRAPOLATED to all {last + 1}"
    print(
        f"{model}, {torch.get_num_threads()} threads\nSeconds per answer token, {STEPS} gradient "
        f"evaluations, median of {options.rounds} rounds; the peer's loop on {how}.\n{columns}"
    )
    return layers


def package_loop(tokenizer: Any, options: argparse.Namespace) -> list[float]:
    """Print the table of the package on a small GPT-2; how far apart the sides are."""
    from knowledge_neurons import KnowledgeNeurons  # pyrefly: ignore[missing-import]

    torch.manual_seed(0)
    # 12 layers of 768; a vocabulary of 50257, or what the tokenizer needs.
    hf = GPT2LMHeadModel(GPT2Config(vocab_size=max(50257, len(tokenizer)))).eval()
    model = bm.load_model(hf.requires_grad_(False), tokenizer)
    peer = KnowledgeNeurons(hf, tokenizer, model_type="gpt", device=model.device)
    layers = announced(model, options, "    T  brodmann   package  ratio/b difference")
    return [compare_package(model, peer, n, layers, options.rounds) for n in options.lengths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--lengths", default="21,43,85,128,200")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--all-layers", action="store_true")
    parser.add_argument("--package", action="store_true")
    options = parser.parse_args()
    options.lengths = [int(length) for length in options.lengths.split(",")]
    if options.package and not all(map(find_spec, ("knowledge_neurons", "einops"))):
        raise SystemExit("--package needs: pip install knowledge-neurons einops --no-deps")
    model = bm.load_model(options.model, dtype="float32")
    if not all(isinstance(site, DenseSite) for site in model.sites):
        raise SystemExit(f"Expected a model with dense MLPs; {options.model} has experts.")
    model.hf.requires_grad_(False)
    layers = announced(model, options, COLUMNS)
    apart = [compare(model, length, layers, options.rounds) for length in options.lengths]
    agree = all(difference <= 1e-4 for difference in apart)
    if options.package:
        agree &= all(difference <= 1e-3 for difference in package_loop(model.tokenizer, options))
    if not agree:
        raise SystemExit("The sides do not compute the same scores.")


if __name__ == "__main__":
    main()
