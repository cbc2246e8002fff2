import pytest
import torch
from transformers import GptOssConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

from brodmann.errors import InputError, ModelError
from brodmann.models.neuron_parameters import neuron_slices
from brodmann.models.sites import ExpertSite
from tests.reference.neuron_weights import own_masks
from tests.tiny import TINY_FAMILIES
from tests.tiny.opened import opened

LAST = {"bloom": 127, "mpt": 127, "mixtral": 63, "qwen3_moe": 63}


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_slices_are_the_neurons_own_numbers_and_all_of_them(family):
    model = opened(family)
    chosen = torch.tensor([0, 17, LAST.get(family, 47)])
    for layer in (0, 2):
        marked = {
            name: torch.zeros(p.shape, dtype=torch.bool) for name, p in model.hf.named_parameters()
        }
        names = {id(p): name for name, p in model.hf.named_parameters()}
        slices = neuron_slices(model.sites[layer], chosen)
        for part in slices:
            part.write(1.0, marked[names[id(part.parameter)]])
        expected = own_masks(model.hf, [(layer, j) for j in chosen.tolist()])
        assert {name for name, mask in marked.items() if mask.any()} == set(expected)
        for name, mask in expected.items():
            assert torch.equal(marked[name], mask)
        total = sum(int(mask.sum()) for mask in expected.values())
        assert sum(part.count for part in slices) == total
        assert total == len(chosen) * model.sites[layer].parameters_per_neuron


@pytest.mark.parametrize("family", ["gpt2", "phi3", "llama_bias", "qwen3_moe"])
def test_what_is_read_can_be_written_back(family):
    model = opened(family)
    before = {name: p.detach().clone() for name, p in model.hf.named_parameters()}
    slices = neuron_slices(model.sites[0], torch.tensor([5, 3]))
    kept = [part.read() for part in slices]
    for part, values in zip(slices, kept, strict=True):
        assert len(values) == 2
        single = neuron_slices(model.sites[0], torch.tensor([3]))
        alone = next(s for s in single if s.parameter is part.parameter and s.kind == part.kind)
        if len([s for s in single if s.parameter is part.parameter]) == 1:
            assert torch.equal(alone.read()[0], values[1])
        part.write(0.0)
    assert any(not torch.equal(p, before[name]) for name, p in model.hf.named_parameters())
    for part, values in zip(slices, kept, strict=True):
        part.write(values)
    assert all(torch.equal(p, before[name]) for name, p in model.hf.named_parameters())


def test_experts_that_keep_gate_and_up_in_turns_and_transposed():
    config = GptOssConfig(hidden_size=8, intermediate_size=6, num_local_experts=3)
    experts = GptOssExperts(config)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.normal_()
    block = torch.nn.Linear(1, 1)
    site = ExpertSite(
        layer=0, n_neurons=18, layer_module=block, mlp=block, post_norm=None, multiplier=1.0,
        activation=None, experts=experts, n_experts=3,
    )  # fmt: skip
    x = torch.randn(4, 8)

    def z_and_out(expert):
        both = x @ experts.gate_up_proj[expert] + experts.gate_up_proj_bias[expert]
        z = experts._apply_gate(both)
        return z, z @ experts.down_proj[expert]

    z, out = z_and_out(1)
    slices = neuron_slices(site, torch.tensor([6 + 4]))
    assert [part.kind for part in slices] == ["row", "bias", "row", "bias", "column"]
    assert sum(part.count for part in slices) == site.parameters_per_neuron
    column = slices[-1].read()[0]
    for part in slices[:-1]:
        part.write(0.0)
    erased, written = z_and_out(1)
    others = [0, 1, 2, 3, 5]
    assert torch.equal(erased[:, others], z[:, others])
    assert (erased[:, 4] == 0).all()
    torch.testing.assert_close(out - written, z[:, 4:5] * column)


def test_errors():
    model = opened("llama")
    with pytest.raises(InputError, match="neurons from 0 to 47 in layer 1; got 3 to 48"):
        neuron_slices(model.sites[1], torch.tensor([3, 48]))
    site = model.sites[0]
    down = site.down
    packed = down.weight.data.to(torch.uint8)
    down.weight = torch.nn.Parameter(packed, requires_grad=False)
    with pytest.raises(ModelError, match="packed by quantisation"):
        neuron_slices(site, torch.tensor([3]))
    down.weight = torch.nn.Parameter(torch.empty(32, 48, device="meta"))
    with pytest.raises(ModelError, match="in memory"):
        neuron_slices(site, torch.tensor([3]))
