"""Heat maps of traces: what stands in them, and that equal traces give equal bytes."""

import math

import torch

from brodmann.evaluate.traces import average_traces
from brodmann.localize.trace import Trace
from brodmann.report.figure_tracing import draw_averaged, draw_trace


def made(fact="f", seed=0, kinds=("residual", "mlp", "attention")):
    generator = torch.Generator().manual_seed(seed)
    tokens = ("<s>", "The", " Space", " Need", "le", " is", " in", "\n")
    return Trace(
        fact=fact,
        tokens=tokens,
        subject=(2, 5),
        answer=" $Sea$",
        answer_ids=(1,),
        clean=0.8,
        corrupted=0.1,
        effects={kind: torch.randn(len(tokens), 6, generator=generator) / 9 for kind in kinds},
        provenance={"rule": {"window": 10}},
    )


def test_one_fact(tmp_path):
    told = draw_trace(made(), tmp_path / "a.png", svg=True)
    assert "$Sea$" in told and "0.800 clean, 0.100 with noise" in told
    svg = (tmp_path / "a.svg").read_text()
    for text in ("Space*", "le*", "The", "\\n", "MLP output, 10 layers", "layer restored"):
        assert f">{text}<" in svg or f"<!-- {text} -->" in svg
    assert "is*" not in svg
    draw_trace(made(), tmp_path / "b.png", svg=True)
    for kind in ("png", "svg"):
        first, second = (tmp_path / f"{name}.{kind}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_an_effect_of_nothing_is_drawn(tmp_path):
    trace = made(kinds=["mlp"])
    trace.effects["mlp"].zero_()
    draw_trace(trace, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_an_average(tmp_path):
    averaged = average_traces([made(str(seed), seed) for seed in range(4)])
    told = draw_averaged(averaged, tmp_path / "a.png", window=10, svg=True)
    assert "mean over 4 facts" in told and "95% bootstrap" in told
    svg = (tmp_path / "a.svg").read_text()
    assert "last subject token (4)" in svg and "first subsequent token (4)" in svg


def test_a_role_that_no_fact_has_is_no_row(tmp_path):
    trace = made(kinds=["mlp"])
    short = Trace(**{name: getattr(trace, name) for name in trace.__dataclass_fields__}
                  | {"subject": (2, 3)})  # fmt: skip
    averaged = average_traces([short])
    assert math.isnan(averaged.effects["mlp"].mean[1, 0])
    draw_averaged(averaged, tmp_path / "a.png", svg=True)
    assert "middle subject" not in (tmp_path / "a.svg").read_text()
