"""The ROME edit the slow way: one unpadded prompt at a time, whole passes, formulas as written.

Independent of the package's sites, caches, hooks and rows. Weights are found by name.
"""

import torch
from torch import nn


def down_module(hf, layer: int) -> nn.Module:
    decoder = hf.get_decoder()
    blocks = next(getattr(decoder, n) for n in ("layers", "h", "blocks") if hasattr(decoder, n))
    block = blocks[layer]
    mlp = next((getattr(block, n) for n in ("mlp", "ffn") if hasattr(block, n)), block)
    names = ("down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h")
    return next(getattr(mlp, n) for n in names if hasattr(mlp, n))


def dense(hf, layer: int) -> tuple[torch.Tensor, torch.Tensor | float]:
    """W as [out, in], and the bias or 0."""
    down = down_module(hf, layer)
    weight = down.weight if isinstance(down, nn.Linear) else down.weight.T
    bias = getattr(down, "bias", None)
    return weight.detach().clone(), 0.0 if bias is None else bias.detach()


@torch.no_grad()
def moment(hf, layer: int, sequences: list[list[int]]) -> torch.Tensor:
    """Mean of k k' over all tokens of some sequences, one token at a time, float64."""
    total, n_tokens = 0, 0
    for ids in sequences:
        for k in inputs(hf, layer, ids).double():
            total, n_tokens = total + torch.outer(k, k), n_tokens + 1
    return total / n_tokens


@torch.no_grad()
def inputs(hf, layer: int, ids: list[int]) -> torch.Tensor:
    """The down projection's input at each token of one sequence, [T, n]."""
    kept = []
    hook = down_module(hf, layer).register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    hf(input_ids=torch.tensor([ids]), use_cache=False)
    hook.remove()
    return kept[0].reshape(len(ids), -1)


def shifted_logits(hf, layer: int, ids: list[int], at: int, shift: torch.Tensor) -> torch.Tensor:
    """Logits [T, V] where the down projection writes ``shift`` more at one token."""

    def add(_, args, out):
        rows = out.reshape(-1, out.shape[-1])
        moved = torch.cat([rows[:at], (rows[at] + shift)[None], rows[at + 1 :]])
        return moved.view_as(out)

    hook = down_module(hf, layer).register_forward_hook(add)
    logits = hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    hook.remove()
    return logits


def search(hf, layer: int, prompts, essence, value, *, steps, lr, kl, weight_decay, clamp):
    """v* - v, and the losses; prompts: (ids with the target, subject's last token, targets)."""
    shift = torch.zeros_like(value, requires_grad=True)
    adam = torch.optim.Adam([shift], lr=lr)
    before, losses = None, []
    for step in range(steps):
        nll = 0
        for ids, at, n_target in prompts:
            log_probs = shifted_logits(hf, layer, ids, at, shift).log_softmax(-1)
            found = [log_probs[-n_target - 1 + i, ids[-n_target + i]] for i in range(n_target)]
            nll = nll - sum(found) / n_target / len(prompts)
        now = shifted_logits(hf, layer, *essence, shift)[-1].log_softmax(-1)
        before = now.detach() if before is None else before
        loss = nll + kl * (now.exp() * (now - before)).sum()
        losses.append(loss.item())
        if loss < 0.05 or step == steps - 1:
            break
        adam.zero_grad()
        (loss + weight_decay * shift.norm() / value.norm() ** 2).backward()
        adam.step()
        longest = clamp * value.norm()
        with torch.no_grad():
            if shift.norm() > longest:
                shift.mul_(longest / shift.norm())
    return shift.detach(), losses


def edited(weight, bias, key, value_new, covariance) -> torch.Tensor:
    """W + (v* - W k - b) (C^-1 k)' / ((C^-1 k)' k), in float64."""
    w, k, c = weight.double(), key.double(), covariance.double()
    u = torch.linalg.inv(c) @ k
    return w + torch.outer(value_new.double() - w @ k - bias, u) / (u @ k)
