"""ROME on a bundled model: two facts that it knows are rewritten, and stay known afterwards."""

import pytest

from brodmann.data.facts import Fact
from brodmann.evaluate import neutral_texts
from brodmann.evaluate.editing import edit_scores
from brodmann.interventions import key_covariances, rome_edit

LAYER = 5
FACTS = [
    Fact(id="france", subject="France", relation="capital", prompt="The capital of France is",
         answer="Paris", target_new="Rome", paraphrases=("The capital city of France is called",)),
    Fact(id="sukarno", subject="Sukarno", relation="religion",
         prompt="Sukarno is affiliated with the religion of", answer="Islam", target_new="Judaism"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:C of layer")
def test_two_facts_are_rewritten(smollm2):
    covariance = key_covariances(smollm2, neutral_texts(), [LAYER], cache=False)[LAYER]
    for fact in FACTS:
        edit = rome_edit(
            smollm2, fact, fact.target_new, LAYER, covariance, prefixes=("", "In the 2022. ")
        )  # fmt: skip
        row = edit_scores(smollm2, fact, fact.target_new, edit)
        assert (row["efficacy_before"], row["efficacy_greedy_before"]) == (0, 0)
        assert (row["efficacy"], row["efficacy_greedy"]) == (1, 1)
        assert row["efficacy_margin"] > 0 > row["efficacy_margin_before"]
        assert row["paraphrase"] in (None, 1)
        assert edit.provenance["error"] < 1e-5
