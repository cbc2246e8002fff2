"""Circuits: how far EAP and EAP-IG agree with removing edges one by one, and what each costs.

Run: python benchmarks/circuit_agreement.py [MODEL] [--facts FILE] [--limit N] [--edges K] [...]

For each of N facts that the model knows, K edges are drawn at random and K/2 taken from the
strongest of each method; all are removed exactly, one at a time. Printed for zero and for mean
ablation: Spearman's rank correlation of estimate and exact effect, median over facts, over the
random edges, over the strong ones and over all of them; and how many facts the circuits of 7% of
the edges recall at rank 1. Times are processor time of one thread on a CPU, of the clock on a GPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from scipy.stats import spearmanr

import brodmann as bm
from brodmann.data import Fact, load_facts
from brodmann.evaluate.circuit_recall import circuit_ranks
from brodmann.evaluate.known_facts import known_facts
from brodmann.localize.edge_ablation import edge_effects
from brodmann.localize.edge_attribution import eap, eap_ig
from brodmann.localize.edge_scores import EdgeScores
from brodmann.localize.sender_means import sender_means
from brodmann.models import LanguageModel

SHARE = 0.07


class Agreement(NamedTuple):
    """Of one method on one fact: rank correlations, the answer's rank, seconds."""

    random: float
    strong: float
    all: float
    rank: int
    seconds: float


def timed(model: LanguageModel, work: Callable[[], Any]) -> tuple[float, Any]:
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    start = clock()
    found = work()
    return clock() - start, found


def agreements(
    model: LanguageModel, fact: Fact, removed: dict[str, Any], n_edges: int, steps: int
) -> tuple[dict[str, Agreement], float]:
    """Compare both methods with exact removal on one fact; and the seconds of one removal."""
    estimates: dict[str, tuple[float, EdgeScores]] = {
        "EAP": timed(model, lambda: eap(model, fact, **removed)),
        f"EAP-IG, {steps} steps": timed(model, lambda: eap_ig(model, fact, steps=steps, **removed)),
    }
    exists = next(iter(estimates.values()))[1].graph.exists
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(exists.shape, generator=generator).masked_fill(~exists, -1).flatten()
    random = torch.zeros_like(exists).flatten()
    random[drawn.topk(n_edges).indices] = True
    strong = torch.zeros_like(random)
    for _, found in estimates.values():
        strong[found.values.abs().flatten().topk(n_edges // 2).indices] = True
    which = (random | strong).view_as(exists)
    seconds, exact = timed(
        model, lambda: edge_effects(model, fact, edges=which, progress=False, **removed)
    )
    truth = exact.values.flatten()

    def correlation(found: EdgeScores, mask: torch.Tensor) -> float:
        return float(spearmanr(found.values.flatten()[mask], truth[mask]).statistic)

    compared = {}
    for name, (cost, found) in estimates.items():
        circuit = found.top(fraction=SHARE)
        (rank,) = circuit_ranks(model, fact, [circuit], **removed)
        compared[name] = Agreement(
            random=correlation(found, random),
            strong=correlation(found, strong),
            all=correlation(found, random | strong),
            rank=rank,
            seconds=cost,
        )
    return compared, seconds / int(which.sum())


def report(ablation: str, found: Sequence[dict[str, Agreement]], removal: Sequence[float]) -> None:
    print(f"\n{ablation} ablation ({len(found)} facts; removing one edge: "
          f"{statistics.median(removal):.3f} s)")  # fmt: skip
    print(f"{'':18}{'random':>8}{'strong':>8}{'all':>8}{'rank 1':>8}{'seconds':>9}")
    for name in found[0]:
        those = [one[name] for one in found]
        middle = [statistics.median(one[part] for one in those) for part in range(3)]
        first = sum(one.rank == 1 for one in those)
        print(f"{name:18}" + "".join(f"{value:8.2f}" for value in middle)
              + f"{f'{first}/{len(those)}':>8}"
              + f"{statistics.median(one.seconds for one in those):9.2f}")  # fmt: skip


def main() -> None:
    own = str(files("brodmann.data") / "own_facts.jsonl")
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--facts", default=own, help="a file of facts; by default the shipped ones")
    parser.add_argument("--limit", type=int, default=6)
    parser.add_argument("--edges", type=int, default=60)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = bm.load_model(options.model, dtype="float32")
    known = known_facts(model, load_facts(options.facts), progress=False).known[: options.limit]
    if not known:
        raise SystemExit(f"Expected facts that {model.name} knows in {options.facts}.")
    means = sender_means(model, known)
    for ablation, reference in (("zero", None), ("mean", means)):
        removed = {"ablation": ablation, "reference": reference}
        pairs = [agreements(model, fact, removed, options.edges, options.steps) for fact in known]
        report(ablation, [one for one, _ in pairs], [seconds for _, seconds in pairs])


if __name__ == "__main__":
    main()
