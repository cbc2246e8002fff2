"""Evaluation throughput against lm-eval's Hugging Face backend on the same items.

Run: python benchmarks/evaluation.py [MODEL] [--examples N] [--rounds R]

Three tasks: likelihood of four options; greedy generation of a short answer; and generation with
the likelihood of the right answer, which is what brodmann's evaluation always gives (its margin)
and costs lm-eval a second read of every prompt. Both sides generate as many tokens. One model
object in memory serves both; rounds alternate; lm-eval gets the batch size that is best for it
out of a few.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import brodmann as bm
from brodmann.data import Example
from brodmann.models import LanguageModel

CHOICE = "arithmetic/add:task=mq,template=plain,shots=2,max=9,repeat=true"
FREE = "arithmetic/add:template=plain,shots=4,max=9,repeat=true"
BATCH_SIZES = (16, 64)
NEW_TOKENS = 4


def lm_eval_backend(model: LanguageModel, size: int) -> Any:
    from lm_eval.models.huggingface import HFLM  # pyrefly: ignore[missing-import]

    tokenizer: Any = model.tokenizer
    return HFLM(pretrained=model.hf, tokenizer=tokenizer, batch_size=size, device=str(model.device))


def lm_eval_choices(model: LanguageModel, examples: Sequence[Example], size: int) -> object:
    from lm_eval.api.instance import Instance  # pyrefly: ignore[missing-import]

    requests = [
        Instance("loglikelihood", {}, (example.prompt, example.delimiter + choice), index)
        for index, example in enumerate(examples)
        for choice in example.choices
    ]
    return lm_eval_backend(model, size).loglikelihood(requests, disable_tqdm=True)


def lm_eval_generation(model: LanguageModel, examples: Sequence[Example], size: int) -> object:
    from lm_eval.api.instance import Instance  # pyrefly: ignore[missing-import]

    until = {"until": ["\n"], "max_gen_toks": NEW_TOKENS, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (example.prompt, until), index)
        for index, example in enumerate(examples)
    ]
    return lm_eval_backend(model, size).generate_until(requests, disable_tqdm=True)


def lm_eval_both(model: LanguageModel, examples: Sequence[Example], size: int) -> object:
    from lm_eval.api.instance import Instance  # pyrefly: ignore[missing-import]

    requests = [
        Instance("loglikelihood", {}, (example.prompt, example.delimiter + example.answer), index)
        for index, example in enumerate(examples)
    ]
    return (
        lm_eval_backend(model, size).loglikelihood(requests, disable_tqdm=True),
        lm_eval_generation(model, examples, size),
    )


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[int], object],
    rounds: int,
) -> None:
    times = {size: seconds(lambda size=size: theirs(size)) for size in BATCH_SIZES}
    best = min(times, key=lambda size: times[size])
    ours()  # warm up
    ratios = []
    for _ in range(rounds):
        their_time, our_time = seconds(lambda: theirs(best)), seconds(ours)
        ratios.append(their_time / our_time)
        print(
            f"{name}: lm-eval (batch {best}) {their_time:.1f} s, brodmann {our_time:.1f} s, "
            f"{ratios[-1]:.2f} times as fast",
            flush=True,
        )
    print(f"{name}: brodmann / lm-eval throughput, median {statistics.median(ratios):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = bm.load_model(options.model)
    choice = bm.load_examples(CHOICE, split="train", limit=options.examples)
    free = bm.load_examples(FREE, split="train", limit=options.examples)
    compare(
        "options by likelihood",
        lambda: bm.evaluate(model, choice, progress=False),
        lambda size: lm_eval_choices(model, choice, size),
        options.rounds,
    )
    compare(
        "greedy generation",
        lambda: bm.evaluate(model, free, max_new_tokens=NEW_TOKENS, progress=False),
        lambda size: lm_eval_generation(model, free, size),
        options.rounds,
    )
    compare(
        "generation and the right answer's likelihood",
        lambda: bm.evaluate(model, free, max_new_tokens=NEW_TOKENS, progress=False),
        lambda size: lm_eval_both(model, free, size),
        options.rounds,
    )


if __name__ == "__main__":
    main()
