"""DCSN's throughput as a share of the bare decoder forward on the same batches.

Run: python benchmarks/dcsn.py [MODEL] [--examples N] [--rounds R]

Bare forwards and DCSN alternate, batch plan and tokens are the same, and the ratio of each round
is printed with the median: above 1 would mean that scoring costs less than nothing (noise).
"""

import argparse
import statistics
import time

import torch

import brodmann as bm
from brodmann.localize.targets import readings
from brodmann.models import LanguageModel
from brodmann.models.batches import plan_batches, right_padded, token_budget

SPEC = "arithmetic/add:template=plain,shots=4,max=9,repeat=true"


@torch.no_grad()
def bare_forward(model: LanguageModel, sequences: list[tuple[int, ...]]) -> None:
    plan = plan_batches([len(ids) for ids in sequences], "auto", token_budget(model.hf))
    for batch in plan:
        padded = right_padded([sequences[i] for i in batch], model.pad_id, model.device)
        model.decoder(input_ids=padded.input_ids, use_cache=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = bm.load_model(options.model)
    examples = bm.load_examples(SPEC, split="train", limit=options.examples)
    sequences = [
        reading.ids for reading in readings(model, examples, target="first", chat_template="off")
    ]
    tokens = sum(len(ids) for ids in sequences)
    bare_forward(model, sequences)  # warm up
    ratios = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        bare_forward(model, sequences)
        middle = time.perf_counter()
        bm.locate(model, examples, progress=False)
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        print(
            f"bare {tokens / (middle - start):,.0f} tokens/s, dcsn "
            f"{tokens / (end - middle):,.0f} tokens/s, ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"DCSN throughput / bare decoder forward: median {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
