"""One training step: neurons beside LoRA, masked full fine-tuning and full fine-tuning.

Run: python benchmarks/tuning.py [MODEL] [--shares 0.1,0.5,1,5] [--length T] [--batch B]
     [--rounds R] [--dtype float32] [--no-memory]

Time: every side gets its own copy of the model in one process and they take turns on the same
batch: forward, backward and AdamW's step, gradients cleared. Ratios are taken within a round and
the median over rounds is printed, with the range of the middle half. LoRA has rank 8 on the same
MLP modules (gate, up, down). "masked" trains all parameters with gradients multiplied by masks of
1% of the neurons, as one would without this package; "full" trains all parameters.

Neurons are drawn at random, the same share in each layer, so that the backward pass reaches the
lowest layer for every side. A located set often leaves lower layers alone, and is faster then.

Memory: a new process for each side, that reads how far its peak stands above what it held with the
model loaded and the optimiser not yet made (VmHWM of Linux, reset after loading; on a GPU torch's
own peak). It holds activations, gradients, the optimiser's state and what the allocator keeps.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

import brodmann as bm
from brodmann.models import LanguageModel
from brodmann.models.sites import DenseSite
from brodmann.tuning import neuron_tuning

RANK = 8
MASKED_SHARE = 1.0  # percent of the neurons of each layer
MEBIBYTE = 2**20
Step = Callable[[], None]


def drawn(model: LanguageModel, percent: float) -> bm.NeuronSet:
    """So many percent of each layer's neurons (one at least), at random."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros_like(model.real)
    for layer, site in enumerate(model.sites):
        count = max(1, round(site.n_neurons * percent / 100))
        mask[layer, torch.randperm(site.n_neurons, generator=generator)[:count]] = True
    return bm.NeuronSet.from_mask(mask, model.real, {"fingerprint": model.fingerprint})


def mlp_modules(model: LanguageModel) -> list[tuple[str, nn.Module, str]]:
    """Name, module and axis of every MLP projection."""
    names = {id(module): name for name, module in model.hf.named_modules()}
    found: list[tuple[str, nn.Module, str]] = []
    for site in model.sites:
        assert isinstance(site, DenseSite)
        found += [(names[id(module)], module, "row") for module in site.inward]
        found.append((names[id(site.down)], site.down, "column"))
    return found


def prepared(model: LanguageModel, side: str) -> Any:
    """What is trained by a side: "neurons 0.5", "lora", "masked", "full" or "frozen"."""
    model.hf.requires_grad_(False)
    if side.startswith("neurons"):
        chosen = drawn(model, float(side.split()[1]))
        return get_peft_model(model.hf, neuron_tuning(model, chosen))
    if side == "lora":
        names = [name for name, *_ in mlp_modules(model)]
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names, task_type="CAUSAL_LM")
        return get_peft_model(model.hf, config)
    model.hf.requires_grad_(True)
    if side == "masked":
        mask_gradients(model)
    return model.hf


def mask_gradients(model: LanguageModel) -> None:
    """Multiply every gradient by a mask of its parameter's own shape: 1 at the drawn neurons."""
    chosen = drawn(model, MASKED_SHARE)
    masks = {id(parameter): torch.zeros_like(parameter) for parameter in model.hf.parameters()}
    for layer, site in enumerate(model.sites):
        assert isinstance(site, DenseSite)
        indices = chosen.indices(layer).to(model.device)
        for module in site.inward:
            masks[id(module.weight)][site.rows(module, indices)] = 1
        masks[id(site.down.weight)][:, indices] = 1
    for parameter in model.hf.parameters():
        mask = masks[id(parameter)]
        parameter.register_hook(lambda gradient, mask=mask: gradient * mask)


def stepper(trained: Any, ids: Tensor) -> tuple[Step, torch.optim.AdamW]:
    """A function that takes one step on a batch, and its optimiser."""
    own = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(own, lr=1e-5)
    trained.train()

    def step() -> None:
        trained(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if ids.is_cuda:
            torch.cuda.synchronize()

    return step, optimiser


def opened(options: argparse.Namespace) -> LanguageModel:
    return bm.load_model(options.model, dtype=options.dtype)


def batch_of(model: LanguageModel, options: argparse.Namespace) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    size = (options.batch, options.length)
    return torch.randint(5, len(model.tokenizer), size, generator=generator).to(model.device)


def state_bytes(optimiser: torch.optim.Optimizer) -> int:
    tensors = [v for state in optimiser.state.values() for v in state.values()]
    return sum(value.numel() * value.element_size() for value in tensors if value.dim())


def adapter_bytes(trained: Any) -> int:
    """The size of what one saves: the adapter's weights and config, or the whole checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        trained.save_pretrained(folder)
        return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def timed(sides: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each side's step, round by round; they take turns."""
    steps: dict[str, Step] = {}
    for side in sides:
        model = opened(options)
        steps[side], _ = stepper(prepared(model, side), batch_of(model, options))
        steps[side]()  # warm up; the optimiser makes its state
    gc.disable()
    found: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(options.rounds):
        # Another first each time: what runs behind a large step meets a cold cache.
        for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
            start = time.perf_counter()
            steps[side]()
            found[side].append(time.perf_counter() - start)
    gc.enable()
    return found


def measured_memory(side: str, options: argparse.Namespace) -> dict[str, int]:
    """Peak above the loaded model, the optimiser's state and the file: from a new process."""
    words = [sys.executable, __file__, options.model, "--memory-of", side]
    for name in ("length", "batch", "dtype"):
        words += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def memory_of(side: str, options: argparse.Namespace) -> dict[str, int]:
    model = opened(options)
    ids = batch_of(model, options)
    with torch.no_grad():  # what every first forward pass makes is no side's own
        model.hf(input_ids=ids[:1, :8], use_cache=False)
    gc.collect()
    before = reset_peak(ids.is_cuda)
    trained = prepared(model, side)
    step, optimiser = stepper(trained, ids)
    for _ in range(3):
        step()
    peak = torch.cuda.max_memory_allocated() if ids.is_cuda else own_memory("VmHWM")
    sizes = {"peak": peak - before, "state": state_bytes(optimiser)}
    return sizes | {"file": adapter_bytes(trained)}


def reset_peak(on_gpu: bool) -> int:
    """Forget the peak so far; what is held now."""
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return own_memory("VmRSS")


def own_memory(name: str) -> int:
    """A line of Linux's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def ratio(times: dict[str, list[float]], side: str, other: str) -> str:
    """Median over rounds of one side's seconds by another's, and the middle half's range."""
    found = [a / b for a, b in zip(times[side], times[other], strict=True)]
    low, middle, high = statistics.quantiles(found, n=4)
    return f"{middle:5.2f} ({low:.2f}-{high:.2f})"


def lines(sides: list[str], options: argparse.Namespace) -> Iterator[str]:
    times = timed(sides, options)
    yield f"{'':12} {'seconds':>8} {'of LoRA':>17} {'of masked':>17}"
    for side in sides:
        against = " ".join(f"{ratio(times, side, other):>17}" for other in ("lora", "masked"))
        yield f"{side:12} {statistics.median(times[side]):8.3f} {against}"
    if options.no_memory:
        return
    yield f"\n{'':12} {'peak MiB':>9} {'of LoRA':>8} {'state MiB':>10} {'file MiB':>9}"
    memory = {side: measured_memory(side, options) for side in sides}
    for side, sizes in memory.items():
        peak, state, file = (sizes[name] / MEBIBYTE for name in ("peak", "state", "file"))
        share = sizes["peak"] / memory["lora"]["peak"]
        yield f"{side:12} {peak:9.1f} {share:8.2f} {state:10.2f} {file:9.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--shares", default="0.1,0.5,1,5")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10, help="two or more")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(memory_of(options.memory_of, options)))
        return
    sides = [f"neurons {share}" for share in options.shares.split(",")]
    print(
        f"{options.model}, {options.dtype}, {options.batch} x {options.length} tokens, "
        f"{torch.get_num_threads()} threads, {options.rounds} rounds; LoRA of rank {RANK} on the "
        f"same modules; masked to {MASKED_SHARE:g}% of the neurons",
        flush=True,
    )
    for line in lines([*sides, "lora", "masked", "full"], options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
