"""Feelings in text, by the likelihood of a closed list of labels.

emotion, imdb, goemotions, tweeteval (emotion or sentiment) and emocontext. Labels are in the
order of each release, which its numbers count from 0.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from brodmann.data.families.loading import register
from brodmann.data.families.official_files import (
    headed_columns,
    label_numbers,
    labelled_lines,
    parallel_lines,
    review,
)
from brodmann.data.families.task_set import Fields, Files, HubSource, TaskSet, Values
from brodmann.errors import DataError

_CHARS = 1000
_BREAK = re.compile(r"\s*<br\s*/?>\s*")

_EMOTION = ("sadness", "joy", "love", "anger", "fear", "surprise")
_IMDB = ("negative", "positive")
# fmt: off
_GOEMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity",
    "desire", "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear",
    "gratitude", "grief", "joy", "love", "nervousness", "optimism", "pride", "realization",
    "relief", "remorse", "sadness", "surprise", "neutral",
)
# fmt: on
_TWEETS = {
    "emotion": ("anger", "joy", "optimism", "sadness"),
    "sentiment": ("negative", "neutral", "positive"),
}
_EMOCONTEXT = ("others", "happy", "sad", "angry")


def label_name(
    value: Any, names: Sequence[str], where: str, others: Mapping[str, str] | None = None
) -> str:
    """Return a label by its name, its number from 0, or another name that a release gives it.

    Raises:
        DataError: when it is not one of them.
    """
    text = str(value).strip().casefold()
    text = (others or {}).get(text, text)
    if text in names:
        return text
    if text.isascii() and text.isdigit() and int(text) < len(names):
        return names[int(text)]
    raise DataError(
        f"Expected a label out of {', '.join(names)} (or its number from 0) in {where}; "
        f"got '{value}'."
    )


def last_words(text: str, chars: int) -> str:
    """Return the last ``chars`` characters of a text, from where a word begins."""
    if len(text) <= chars:
        return text
    cut = text[-chars:]
    begins = text[-chars - 1].isspace()
    return cut.lstrip() if begins else cut.partition(" ")[2].lstrip() or cut


def _labelled(names: Sequence[str]) -> Fields:
    """Return what makes the fields of rows with a text and one label."""

    def fields(values: Values, where: str) -> Values | None:
        answer = label_name(values["label"], names, where)
        return {**values, "text": str(values["text"]).strip(), "answer": answer}

    return fields


def _imdb(values: Values, where: str) -> Values | None:
    """Cut a review to its last characters, at a word; line breaks of HTML become spaces."""
    chars = str(values.get("chars", _CHARS))
    if not re.fullmatch(r"[1-9]\d{0,5}", chars, re.ASCII):
        raise DataError(f"Expected chars= as a number from 1 to 999999 for imdb; got '{chars}'.")
    text = _BREAK.sub(" ", str(values["text"])).strip()
    short = {"neg": "negative", "pos": "positive"}
    answer = label_name(values["label"], _IMDB, where, short)
    return {**values, "shown": last_words(text, int(chars)), "answer": answer}


def _goemotions(values: Values, where: str) -> Values | None:
    """Leave out a comment with several labels."""
    labels = values["labels"]
    labels = labels if isinstance(labels, list | tuple) else [labels]
    if len(labels) != 1:
        return None
    answer = label_name(labels[0], _GOEMOTIONS, where)
    return {**values, "text": str(values["text"]).strip(), "answer": answer}


def _emocontext(values: Values, where: str) -> Values | None:
    turns = {name: str(values[name]).strip() for name in ("turn1", "turn2", "turn3")}
    if not all(turns.values()):
        return None
    return {**values, **turns, "answer": label_name(values["label"], _EMOCONTEXT, where)}


def _tweets(part: str, template: str, licence: str) -> TaskSet:
    return TaskSet(
        name=f"tweeteval/{part}",
        family="language",
        summary=f"TweetEval, {part}: tweets with one of {len(_TWEETS[part])} labels",
        licence=licence,
        hub=HubSource("cardiffnlp/tweet_eval", part),
        files=(Files(parallel_lines, train=("train_text.txt",), test=("test_text.txt",)),),
        folders=(f"tweeteval/datasets/{part}", f"tweeteval_{part}", f"datasets/{part}"),
        columns={"text": ("text",), "label": ("label",)},
        optional={"id": ("id",)},
        fields=_labelled(_TWEETS[part]),
        template=template,
        scorer="choice",
        choices=_TWEETS[part],
        key=("text",),
    )


register(
    TaskSet(
        name="emotion",
        family="language",
        summary="English tweets with one of six emotions",
        licence="for research and education (its page on the hub)",
        hub=HubSource("dair-ai/emotion", "split"),
        files=(Files(labelled_lines, train=("train.txt",), test=("test.txt",)),),
        columns={"text": ("text",), "label": ("label",)},
        optional={"id": ("id",)},
        fields=_labelled(_EMOTION),
        template="Text: {text}\nEmotion:",
        scorer="choice",
        choices=_EMOTION,
        key=("text",),
    )
)
register(
    TaskSet(
        name="imdb",
        family="language",
        summary="Film reviews, positive or negative; their last 1,000 characters (chars=)",
        licence="none stated; for research",
        hub=HubSource("stanfordnlp/imdb", "plain_text"),
        files=(
            Files(review, train=("train/[np][eo][gs]/*.txt",), test=("test/[np][eo][gs]/*.txt",)),
        ),
        folders=("aclImdb", "imdb/aclImdb"),
        columns={"text": ("text",), "label": ("label",)},
        optional={"id": ("id",)},
        fields=_imdb,
        template="Review: {shown}\nSentiment:",
        scorer="choice",
        choices=_IMDB,
        key=("text",),
        options={"chars": f"how much of the end of a review is read (default {_CHARS})"},
    )
)
register(
    TaskSet(
        name="goemotions",
        family="language",
        summary="Reddit comments with one of 27 emotions or neutral; those with one label",
        licence="CC BY 4.0 (google-research); Apache-2.0 (its page on the hub)",
        hub=HubSource("google-research-datasets/go_emotions", "simplified"),
        files=(Files(label_numbers, train=("train.tsv",), test=("test.tsv",)),),
        folders=("goemotions/data", "GoEmotions", "go_emotions"),
        columns={"text": ("text",), "labels": ("labels", "label")},
        optional={"id": ("id",)},
        fields=_goemotions,
        template="Text: {text}\nEmotion:",
        scorer="choice",
        choices=_GOEMOTIONS,
        key=("text",),
    )
)
register(
    _tweets("emotion", "Tweet: {text}\nEmotion:", "none stated; Twitter's terms"),
    _tweets("sentiment", "Tweet: {text}\nSentiment:", "CC BY 3.0; Twitter's terms"),
)
register(
    TaskSet(
        name="emocontext",
        family="language",
        summary="SemEval-2019 task 3: the feeling of the last of three turns of a dialogue",
        licence="none stated by the task; the cleansed copy on the hub: MPL-2.0",
        # The official set on the hub has joined turns; this one keeps them, with typos corrected.
        hub=HubSource("oneonlee/cleansed_emocontext"),
        files=(
            Files(
                headed_columns,
                train=("train.txt", "train.tsv"),
                test=("testwithlabels.txt", "test.txt", "test.tsv"),
            ),
        ),
        folders=("EmoContext", "semeval2019_task3"),
        columns={name: (name,) for name in ("turn1", "turn2", "turn3", "label")},
        optional={"id": ("id",)},
        fields=_emocontext,
        template="A: {turn1}\nB: {turn2}\nA: {turn3}\nEmotion of A:",
        scorer="choice",
        choices=_EMOCONTEXT,
        key=("turn1", "turn2", "turn3"),
    )
)
