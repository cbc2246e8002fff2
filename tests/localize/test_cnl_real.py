"""CNL on the bundled models: against the plain loop, and completeness."""

import pytest

from brodmann import load_model
from brodmann.data import Example
from brodmann.localize import locate
from brodmann.models.tokens import tokenise_answers
from tests.conftest import REAL_MODELS
from tests.reference.attribution import attribution_reference

pytestmark = pytest.mark.real_model

EXAMPLES = [Example("The capital of France is", "Paris"), Example("4+8=", "12", delimiter="")]


def test_equals_the_plain_loop_in_some_layers(smollm2):
    """In float32 against float64: the plain loop's own float32 is 1e-4 off, ours 3e-6.

    Families that normalise what an MLP writes are compared in tests/localize/test_cnl.py.
    """
    layers = [0, 29]
    exact = load_model(REAL_MODELS["smollm2"], dtype="float64")
    texts = [(e.prompt, e.delimiter, e.answer) for e in EXAMPLES]
    answers = [(list(a.ids), a.n_prompt) for a in tokenise_answers(smollm2, texts)]
    assert max(len(ids) - n for ids, n in answers) > 1  # an answer of several tokens
    expected = attribution_reference(exact, answers, steps=4, layers=layers)[layers]
    found = locate(smollm2, EXAMPLES, "cnl", refine=False, steps=4, batch_size=2)
    found = found.values[layers].double()
    error = (found - expected).abs().amax(1) / expected.abs().amax(1)
    assert error.max() < 1e-4


def test_scores_add_up_to_what_each_layer_does(gemma3):
    provenance = locate(gemma3, EXAMPLES[1:], "cnl").provenance
    assert provenance["path"] == "staircase"
    assert provenance["completeness_error_max"] < 1e-3


def test_more_points_miss_less(gemma3):
    errors = [
        locate(gemma3, EXAMPLES[1:], "cnl", steps=steps, refine=False).provenance[
            "completeness_error_max"
        ]
        for steps in (3, 9)
    ]
    assert errors[0] > errors[1]
