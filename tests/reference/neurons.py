"""Scores, rules and measures again, in loops over Python numbers, as the papers write them."""

import itertools
import math
import statistics


def pairs_of(values, real):
    return [(i, j) for i in range(len(values)) for j in range(len(values[i])) if real[i][j]]


def dispersion_of(numbers, kind):
    mean = sum(numbers) / len(numbers)
    variance = sum((x - mean) ** 2 for x in numbers) / len(numbers)
    if kind == "var":
        return variance
    if kind == "std":
        return math.sqrt(variance)
    middle = statistics.median(numbers)
    return 1.4826 * statistics.median(abs(x - middle) for x in numbers)


def selected(values, real, sigma, dispersion, scope, sign, exclude_last_layers):
    """CNL Eq. 8 as a set of (layer, neuron)."""
    among = [(i, j) for i, j in pairs_of(values, real) if i < len(values) - exclude_last_layers]
    groups = [among]
    if scope == "layer":
        groups = [list(g) for _, g in itertools.groupby(among, key=lambda pair: pair[0])]
    found = set()
    for group in groups:
        numbers = [values[i][j] for i, j in group]
        if len(set(numbers)) < 2:
            continue
        mean, spread = sum(numbers) / len(numbers), dispersion_of(numbers, dispersion)
        if spread == 0:
            continue
        for i, j in group:
            distance = values[i][j] - mean
            side = {"both": abs(distance), "positive": distance, "negative": -distance}[sign]
            if side > sigma * spread:
                found.add((i, j))
    return found


def top(values, real, k, sign):
    strength = {"both": abs, "positive": lambda x: x, "negative": lambda x: -x}[sign]
    ranked = sorted(pairs_of(values, real), key=lambda p: (-strength(values[p[0]][p[1]]), p))
    return set(ranked[:k])


def overlap(a, b):
    return (len(a & b) / len(a) + len(a & b) / len(b)) / 2


def iou(a, b):
    return len(a & b) / len(a | b)


def max_ratio(a, b):
    return len(a & b) / max(len(a), len(b))


def mean_and_variance(samples):
    """Of numbers, the variance unbiased."""
    return statistics.fmean(samples), statistics.variance(samples)
