"""Causal tracing: all cells of a fact, restarted, against restoring and rerunning each.

Run: python benchmarks/causal_tracing.py [MODEL] [--facts N] [--cells C] [--draws R] [--kinds ...]

The peer's loop runs one batch of a clean and R corrupted copies of the whole prompt for each token
and layer, with hooks that copy the clean row's state into the others, and logits of all tokens (as
ROME's causal_trace.py does). Every cell costs it the same, so that C cells, spread over the grid,
are timed and multiplied up to all. Their effects must agree with ours to 1e-4, or the exit code
is 1. On a CPU it is processor time of one thread that is compared, which other jobs on the machine
change little; on a GPU it is the clock on the wall.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import brodmann as bm
from brodmann.data import Fact
from brodmann.localize.causal_tracing import causal_tracing, subject_noise
from brodmann.localize.trace import KINDS, Trace
from brodmann.models import LanguageModel
from brodmann.models.tokens import tokenise_answer

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.reference.causal_tracing import Tracer

ASKED = (
    ("Wayne Rooney", "{} professionally plays the sport of", "soccer"),
    ("The Three Musketeers", "The original language of the novel {} is", "French"),
    ("Russian Post", "The headquarters of {} is in the city of", "Moscow"),
)
WINDOW = 10


def facts(count: int) -> list[Fact]:
    return [
        Fact(id=subject, subject=subject, relation="", prompt=text.format(subject), answer=answer)
        for subject, text, answer in ASKED[:count]
    ]


def timed(model: LanguageModel, work: Callable[[], Any]) -> tuple[float, Any]:
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    start = clock()
    found = work()
    return clock() - start, found


def rerun(model: LanguageModel, fact: Fact, trace: Trace) -> Tracer:
    """The peer, with the noise that the trace was made with."""
    rule, (start, end) = trace.provenance["rule"], trace.subject
    text = tokenise_answer(model, fact.prompt, fact.delimiter, fact.answer)
    shape = (rule["draws"], end - start, model.width)
    noise = subject_noise(fact, shape, rule["noise_std"], rule["seed"])
    return Tracer(model.hf, list(text.prompt_ids), start, noise, [text.n_prompt - 1])


def compare(model: LanguageModel, fact: Fact, options: argparse.Namespace) -> tuple[float, float]:
    """The peer's time over ours, and the largest difference of an effect."""
    ours, (trace,) = timed(
        model,
        lambda: causal_tracing(
            model, [fact], kinds=options.kinds, draws=options.draws, progress=False
        ),
    )
    peer = rerun(model, fact, trace)
    n_tokens, answer = len(trace.tokens), list(trace.answer_ids)
    peer.probabilities(answer, {})  # warm up
    theirs, worst = 0.0, 0.0
    for number in range(options.cells):
        kind = options.kinds[number % len(options.kinds)]
        token = n_tokens - 1 - number % (n_tokens - trace.subject[0])
        layer = (7 * number + 3) % model.n_layers
        seconds, rows = timed(model, lambda: peer.cell(kind, token, layer, WINDOW, answer))  # noqa: B023
        theirs += seconds
        effect = float(rows[1:].mean()) - trace.corrupted
        worst = max(worst, abs(effect - float(trace.effects[kind][token, layer])))
    theirs *= len(options.kinds) * n_tokens * model.n_layers / options.cells
    print(
        f"{fact.subject}: {n_tokens} tokens, subject {trace.subject}, ours {ours:.1f} s, "
        f"peer {theirs:.1f} s, ratio {theirs / ours:.2f}, difference {worst:.1e}",
        flush=True,
    )
    return theirs / ours, worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--facts", type=int, default=len(ASKED))
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    model = bm.load_model(options.model)
    if model.device.type == "cpu":
        torch.set_num_threads(1)
    found = [compare(model, fact, options) for fact in facts(options.facts)]
    print(f"reruns / restarts: median {statistics.median(ratio for ratio, _ in found):.2f}")
    if max(difference for _, difference in found) > 1e-4:
        sys.exit("The effects differ.")


if __name__ == "__main__":
    main()
