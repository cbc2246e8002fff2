"""On what the CNL experiments locate neurons at each size (cnl.txt §5.2, §5.3): values only.

``paper`` has the paper's own data sets, counts and rule. ``cpu`` has those that are quickly at
hand, under their own names: GoEmotions in place of Emotion, CodeXGLUE's code in place of Code25K,
TweetEval's sentiment in place of Imdb. CNL takes as long for every token of an answer, and an
answer in code has some forty of them: so there are few of these.
"""

from typing import Any

SMOKE = {
    "GSM8K": "gsm8k:source=sample",
    "Emotion": "emotion:source=sample",
    "Code25K": "code25k:source=sample",
    "Meta_Math": "metamath:source=sample",
    "Imdb": "imdb:source=sample",
}

CPU = {
    "GSM8K": "gsm8k",
    "GoEmotions": "goemotions",
    "CodeXGLUE": "codexglue",
    "Meta_Math": "metamath",
    "TweetEval": "tweeteval/sentiment",
}

PAPER = {
    "GSM8K": "gsm8k",
    "Emotion": "emotion",
    "Code25K": "code25k",
    "Meta_Math": "metamath",
    "Imdb": "imdb",
}

SMOKE_TESTED = {name: SMOKE[name] for name in ("GSM8K", "Emotion", "Code25K")}
CPU_TESTED = {name: CPU[name] for name in ("GSM8K", "GoEmotions", "CodeXGLUE")}
PAPER_TESTED = {name: PAPER[name] for name in ("GSM8K", "Emotion", "Code25K")}

SMOKE_LOCATING: dict[str, Any] = {
    "examples": dict.fromkeys(SMOKE, 4),
    "steps": 2,
    "refine": False,
    "sigma": 2,
    "resamples": 8,
}

CPU_LOCATING: dict[str, Any] = {
    "examples": dict.fromkeys(CPU, 48) | {"CodeXGLUE": 8},
    "steps": 5,
}
"""Five nodes do for most integrals; those that miss are taken again with more."""

PAPER_LOCATING: dict[str, Any] = {
    "examples": {
        "GSM8K": 1600,
        "Emotion": 2400,
        "Code25K": 1200,
        "Meta_Math": 700,
        "Imdb": 800,
    },
    "steps": 20,
    "quadrature": "paper",
}
"""The paper's S = 19 has the 20 terms n = 0 to 19."""

MODELS = {
    "smoke": ("tiny-random",),
    "cpu": ("smollm2-135m",),
    "paper": ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf", "EleutherAI/gpt-j-6b"),
}
"""Preset -> the models that it is for."""
