"""Averages of traces: every fact once in every role that its tokens have."""

import math

import pytest
import torch

from brodmann.errors import InputError, MismatchError
from brodmann.evaluate.traces import ROLES, average_traces, role_tokens
from brodmann.localize.trace import Trace


def trace_of(n_tokens, subject, *, fact="f", fingerprint="m", kinds=("mlp",), layers=2, value=None):
    """Effects that tell their token: 1 for token 0, 2 for token 1, ..., in every layer."""
    rows = torch.arange(1.0, n_tokens + 1) if value is None else torch.full((n_tokens,), value)
    return Trace(
        fact=fact,
        tokens=tuple("abcdefghij"[:n_tokens]),
        subject=subject,
        answer="x",
        answer_ids=(1,),
        clean=0.8,
        corrupted=0.2,
        effects={kind: rows[:, None].repeat(1, layers) for kind in kinds},
        provenance={"fingerprint": fingerprint},
    )


@pytest.mark.parametrize(
    ("n_tokens", "subject", "expected"),
    [
        (8, (1, 4), [[1], [2], [3], [4], [5, 6], [7]]),
        (8, (0, 5), [[0], [1, 2, 3], [4], [5], [6], [7]]),
        (5, (1, 2), [[], [], [1], [2], [3], [4]]),
        (4, (1, 3), [[1], [], [2], [], [], [3]]),
        (3, (1, 3), [[1], [], [2], [], [], []]),
    ],
)
def test_every_token_from_the_subject_on_has_one_role(n_tokens, subject, expected):
    found = role_tokens(trace_of(n_tokens, subject))
    assert found == expected
    assert sorted(token for tokens in found for token in tokens) == list(
        range(subject[0], n_tokens)
    )


def test_tokens_are_averaged_within_their_fact_first():
    traces = [trace_of(8, (0, 5)), trace_of(8, (1, 4), fact="g"), trace_of(5, (1, 2), fact="h")]
    averaged = average_traces(traces)
    assert averaged.n_facts == 3 and averaged.counts.tolist() == [2, 2, 3, 3, 3, 3]
    expected = [1.5, 3.0, (5 + 4 + 2) / 3, (6 + 5 + 3) / 3, (7 + 6.5 + 4) / 3, (8 + 8 + 5) / 3]
    for layer in (0, 1):
        assert averaged.effects["mlp"].mean[:, layer].tolist() == pytest.approx(expected)
    assert (averaged.clean, averaged.corrupted) == pytest.approx((0.8, 0.2))


def test_intervals_hold_the_mean_and_shrink_with_agreement():
    apart = average_traces([trace_of(5, (1, 3), fact=str(v), value=v) for v in (0.0, 0.5, 1.0)])
    found = apart.effects["mlp"]
    here = ROLES.index("last subject token")
    assert 0 <= found.low[here, 0] < found.mean[here, 0] == 0.5 < found.high[here, 0] <= 1
    alike = average_traces([trace_of(5, (1, 3), fact=str(i), value=0.5) for i in range(3)])
    bounds = alike.effects["mlp"]
    assert bounds.low[here, 0] == bounds.high[here, 0] == 0.5


def test_a_role_that_no_fact_has_is_left_out_of_the_rows():
    averaged = average_traces([trace_of(4, (1, 3))])
    assert math.isnan(averaged.effects["mlp"].mean[1, 0])
    rows = averaged.rows()
    assert {row["role"] for row in rows} == {ROLES[0], ROLES[2], ROLES[5]}
    assert len(rows) == 3 * 2 and rows[0]["effect"] == 2.0 and rows[0]["facts"] == 1


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(InputError, match="at least one trace"):
        average_traces([])
    with pytest.raises(MismatchError, match="one model"):
        average_traces([trace_of(4, (1, 3)), trace_of(4, (1, 3), fingerprint="other")])
    with pytest.raises(MismatchError, match="2 and 3 layers"):
        average_traces([trace_of(4, (1, 3)), trace_of(4, (1, 3), layers=3)])
    with pytest.raises(InputError, match="same kinds; got mlp and residual"):
        average_traces([trace_of(4, (1, 3)), trace_of(4, (1, 3), kinds=("residual",))])
