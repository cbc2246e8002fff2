"""O-LoRA: earlier tasks stay as they are, and the new one keeps apart from them."""

import pytest
import torch

from brodmann.errors import InputError, MismatchError
from brodmann.tuning.lora import prepare_lora
from brodmann.tuning.olora import orthogonality, prepare_olora
from brodmann.tuning.prepared import check_no_adapters, parameter_count, prepare_neurons
from tests.tuning.baselines import base_numbers, numbers, saved_adapter, step
from tests.tuning.neurons import fresh, logits, some_neurons


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "gemma2"])
def test_olora_is_orthogonal_to_the_tasks_before(family, tmp_path):
    model = fresh(family)
    first = saved_adapter(prepare_lora(fresh(family), rank=2), tmp_path / "first")
    second = saved_adapter(prepare_olora(fresh(family), [first], rank=3), tmp_path / "second")
    before = numbers(model.hf)
    prepared = prepare_olora(model, [first, second], rank=2, weight=20.0)
    trained = prepared.trained
    earlier = {n: p.detach().clone() for n, p in trained.named_parameters() if ".earlier" in n}
    assert earlier
    assert all(p.any() for p in earlier.values())
    assert all(".default." in n for n, p in trained.named_parameters() if p.requires_grad)
    assert prepared.trained_parameters == parameter_count(trained)
    weights = dict(trained.named_parameters())
    by_hand = 0.0
    for name, new in weights.items():
        if name.endswith("lora_A.default.weight"):
            for which in ("earlier0", "earlier1"):
                by_hand += float(
                    (weights[name.replace("default", which)] @ new.T).abs().sum().detach()
                )
    assert float(prepared.extra_loss(trained).detach()) == pytest.approx(20 * by_hand, rel=1e-5)
    step(prepared, steps=30)
    assert float(prepared.extra_loss(trained).detach()) < 20 * by_hand / 4
    after = dict(trained.named_parameters())
    assert all(torch.equal(after[name], p) for name, p in earlier.items())
    base = base_numbers(trained)
    assert all(torch.equal(a, b) for a, b in zip(base.values(), before.values(), strict=True))


def test_olora_starts_where_the_task_before_ended(tmp_path):
    done = prepare_lora(fresh("llama"), rank=2)
    first = saved_adapter(done, tmp_path / "first")
    expected = logits(done.trained)
    prepared = prepare_olora(fresh("llama"), [first], rank=2)
    torch.testing.assert_close(logits(prepared.trained), expected)
    assert prepared.trained.active_adapters[0] == "default"


def test_olora_without_earlier_adapters_says_that_it_is_lora():
    prepared = prepare_olora(fresh("llama"), [], rank=2)
    assert prepared.extra_loss is None
    assert prepared.note == "without earlier adapters O-LoRA is plain LoRA"
    assert prepared.trained_parameters == prepare_lora(fresh("llama"), rank=2).trained_parameters


def test_the_added_loss_reaches_the_new_adapter_only(tmp_path):
    first = saved_adapter(prepare_lora(fresh("llama"), rank=2), tmp_path / "first")
    trained = prepare_olora(fresh("llama"), [first], rank=2).trained
    orthogonality(trained, earlier=["earlier0"], weight=1.0).backward()
    reached = {name for name, p in trained.named_parameters() if p.grad is not None}
    assert reached
    assert all(name.endswith("lora_A.default.weight") for name in reached)


def test_folders_that_hold_no_earlier_task(tmp_path):
    with pytest.raises(InputError, match=r"it has no adapter_config\.json"):
        prepare_olora(fresh("llama"), [tmp_path / "none"])
    with pytest.raises(InputError, match="weight of 0 or more; got -1"):
        prepare_olora(fresh("llama"), [], weight=-1)
    model = fresh("llama")
    prepare_neurons(model, some_neurons(model)).trained.save_pretrained(tmp_path / "neurons")
    with pytest.raises(InputError, match="it holds BRODMANN"):
        prepare_olora(fresh("llama"), [tmp_path / "neurons"])
    other = saved_adapter(prepare_lora(fresh("gpt2"), rank=2), tmp_path / "other")
    with pytest.raises(MismatchError, match="the modules of the one in"):
        prepare_olora(fresh("llama"), [other])
    wide = saved_adapter(prepare_lora(fresh("llama"), rank=2, layers=[1]), tmp_path / "wide")
    with pytest.raises(MismatchError, match="the modules of the one in"):
        prepare_olora(fresh("nemotron"), [wide])


def test_a_folder_without_weights_is_never_looked_for_elsewhere(tmp_path, monkeypatch):
    asked = []
    for name in ("hf_hub_download", "file_exists"):
        monkeypatch.setattr(
            f"peft.utils.save_and_load.{name}", lambda *a, **k: asked.append((a, k)) or False
        )
    monkeypatch.chdir(tmp_path)
    saved_adapter(prepare_lora(fresh("llama"), rank=2), tmp_path / "user" / "name")
    (tmp_path / "user" / "name" / "adapter_model.safetensors").unlink()
    model = fresh("llama")
    with pytest.raises(InputError, match=r"'user/name'; it has no adapter_model\.safetensors"):
        prepare_olora(model, ["user/name"])
    assert not asked
    check_no_adapters(model)
