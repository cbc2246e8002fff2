"""What the tests of the baselines share: a few steps of training, and what they have moved."""

import torch

from brodmann.tuning.frozen_neurons import FrozenNeurons
from tests.tuning.neurons import IDS


def step(prepared, steps=3, weight_decay=0.1):
    """A few steps of AdamW on a few sentences, as a trainer makes them."""
    trained = prepared.trained.train()
    wanted = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(wanted, lr=1e-2, weight_decay=weight_decay)
    frozen = [c for c in prepared.callbacks if isinstance(c, FrozenNeurons)]
    for callback in frozen:
        callback.begin()
    for _ in range(steps):
        loss = trained(input_ids=IDS, labels=IDS).loss
        if prepared.extra_loss is not None:
            loss = loss + prepared.extra_loss(trained)
        loss.backward()
        optimiser.step()
        for callback in frozen:
            callback.put_back()
        optimiser.zero_grad()
    for callback in frozen:
        callback.end()
    trained.eval()
    return prepared


def numbers(hf):
    return {name: parameter.detach().clone() for name, parameter in hf.named_parameters()}


def moved(hf, before):
    """Name -> True where a number of a parameter has changed."""
    return {name: parameter != before[name] for name, parameter in hf.named_parameters()}


def base_numbers(trained):
    """The parameters of the model under the adapters."""
    return {
        name: parameter.detach().clone()
        for name, parameter in trained.named_parameters()
        if not any(kind in name for kind in ("lora_", "supertuning_", "brodmann_"))
    }


def assert_base_stays_and_adapter_moves(prepared, before):
    """``before``: the model's own numbers in their order, which wrapping keeps."""
    after = base_numbers(prepared.trained)
    assert len(after) == len(before)
    assert all(torch.equal(a, b) for a, b in zip(after.values(), before.values(), strict=True))
    trained = [p for p in prepared.trained.parameters() if p.requires_grad]
    assert prepared.trained_parameters == sum(p.numel() for p in trained) > 0
    assert all(p.any() for p in trained)


def saved_adapter(prepared, folder):
    step(prepared).trained.save_pretrained(folder, selected_adapters=["default"])
    return folder
