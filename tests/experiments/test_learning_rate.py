"""The choice of a learning rate, and that what chooses it shares nothing with the test."""

import math

import pytest
import torch

from brodmann.data import load_examples
from brodmann.errors import InputError, LossError, RunError
from brodmann.experiments.learning_rate import best_rate
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import Training
from brodmann.experiments.tuning_table import TuningTableConfig, _training
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet


class Losses(Workbench):
    """A bench whose trainings end with known losses."""

    def __init__(self, losses):
        self.losses = losses

    def tuned(self, training, tests):
        loss = self.losses[training.lr]
        if isinstance(loss, Exception):
            raise loss
        return {"held_out_loss": loss}, {}


def training(held_out=4):
    sample = Sample("arithmetic/add:template=plain,max=9", limit=12)
    return Training(method="full", sample=sample, neurons=None, lr=1.0, steps=1, held_out=held_out)


def test_the_lowest_loss_wins_and_a_loss_that_is_no_number_never_does():
    bench = Losses({0.1: LossError("it is nan"), 0.01: 0.7, 0.001: 0.9})
    lr, tried = best_rate(bench, training(), (0.1, 0.01, 0.001))
    assert lr == 0.01
    assert tried == {0.1: math.inf, 0.01: 0.7, 0.001: 0.9}


def test_a_single_rate_needs_no_trial_and_several_need_held_out_examples():
    assert best_rate(Losses({}), training(held_out=0), (0.5,)) == (0.5, {})
    for rates in ((0.1, 0.2), ()):
        with pytest.raises(InputError, match="held"):
            best_rate(Losses({}), training(held_out=0), rates)


def test_no_seed_of_the_tuning_table_trains_on_what_is_tested():
    config = TuningTableConfig()
    empty = NeuronSet.from_mask(torch.zeros(1, 1, dtype=torch.bool))
    tested = {
        example.meta["expression"]
        for spec in (config.fit, *config.others)
        for example in load_examples(spec, "test", config.n_test)
    }
    for seed in config.seeds:
        sample = _training(config, "full", seed, empty).sample
        trained = load_examples(sample.spec, sample.split, sample.limit, sample.seed)
        assert not tested & {example.meta["expression"] for example in trained}


def test_a_rate_is_not_passed_over_for_another_reason():
    bench = Losses({0.1: RunError("the disk is full"), 0.01: 0.7})
    with pytest.raises(RunError, match="disk"):
        best_rate(bench, training(), (0.1, 0.01))
