"""DCSN on the two bundled models against the slow reference."""

import pytest

from brodmann.data import load_examples
from brodmann.localize import locate
from tests.localize.test_dcsn import reference_readings, relative_error
from tests.reference.dcsn import dcsn_reference

SPEC = "arithmetic/{}:template=plain,shots={},max=9"


@pytest.mark.real_model
@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_padded_batches_equal_the_reference_on_a_real_model(name, request):
    model = request.getfixturevalue(name)
    examples = [
        example
        for part, shots in (("add", 4), ("div", 1), ("mul", 0))
        for example in load_examples(SPEC.format(part, shots), split="train", limit=2)
    ]
    assert len({len(example.prompt) for example in examples}) > 2
    expected = dcsn_reference(model, reference_readings(model, examples))
    for batch_size in (len(examples), 1):
        scores = locate(model, examples, batch_size=batch_size)
        assert relative_error(scores.values, expected) < 1e-4
