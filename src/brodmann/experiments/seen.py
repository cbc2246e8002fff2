"""Which tests of other data ask what was trained on, word for word or rewritten."""

from collections.abc import Mapping

from brodmann.experiments.cells import Row
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench


def seen_in_training(bench: Workbench, trained: Sample, tests: Mapping[str, Sample]) -> list[Row]:
    """Return a note (``column``, ``note``) on each test that is not of new data only.

    A test example was seen where its prompt was trained on, or where the question that it is
    rewritten from (``meta["origin"]``) stands in a prompt that was: MetaMath is made of GSM8K.
    """
    asked = [_words(example.prompt) for example in bench.examples(trained)]
    exact, together = set(asked), "\n".join(asked)
    notes = []
    for name, test in tests.items():
        examples = bench.examples(test)
        origins = [_words(str(example.meta.get("origin", ""))) for example in examples]
        seen = [
            _words(example.prompt) in exact or bool(origin and origin in together)
            for example, origin in zip(examples, origins, strict=True)
        ]
        if any(seen):
            told = f"{sum(seen)} of {len(seen)} ask what was trained on, as it is or rewritten"
            notes.append({"column": name, "note": f"{told} ({trained.spec})"})
    return notes


def _words(text: str) -> str:
    return " ".join(text.split())
