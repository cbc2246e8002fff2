"""ROME on a bundled model: a fact that it knows is rewritten."""

import pytest

from brodmann.data.facts import Fact
from brodmann.evaluate import neutral_texts
from brodmann.evaluate.editing import edit_scores
from brodmann.interventions import key_covariances, rome_edit

LAYER = 5
FACT = Fact(
    id="france",
    subject="France",
    relation="capital",
    prompt="The capital of France is",
    answer="Paris",
    paraphrases=("The capital city of France is called",),
    target_new="Rome",
)


@pytest.mark.filterwarnings("ignore:C of layer")
def test_a_fact_is_rewritten(smollm2):
    covariance = key_covariances(smollm2, neutral_texts(), [LAYER], cache=False)[LAYER]
    edit = rome_edit(smollm2, FACT, "Rome", LAYER, covariance, prefixes=("", "In the 2022. "))
    row = edit_scores(smollm2, FACT, "Rome", edit)
    assert (row["efficacy_before"], row["efficacy_greedy_before"]) == (0, 0)
    assert (row["efficacy"], row["efficacy_greedy"]) == (1, 1)
    assert row["efficacy_margin"] > 0 > row["efficacy_margin_before"]
    assert row["paraphrase"] == 1
    assert edit.provenance["error"] < 1e-5
