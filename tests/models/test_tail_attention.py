"""Attention of tails is plain attention over the visible prefix and themselves, and so backward."""

import pytest
import torch

from brodmann.models.tail_attention import tail_attention

TASKS, HEADS, ROWS, LENGTH, DEPTH = 3, 2, 4, 5, 8


def plain_attention(query, key, value, keys, values, visible, scaling, soft_cap=None):
    """Written down: one row at a time, over the keys that it sees, its own last."""
    group = query.shape[1] // key.shape[1]
    read = torch.empty_like(query)
    for task, head, row in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        of = head // group
        seen = visible[task].nonzero()[:, 0]
        all_keys = torch.cat([keys[task, of, seen], key[task, of, row, None]])
        all_values = torch.cat([values[task, of, seen], value[task, of, row, None]])
        scores = all_keys @ query[task, head, row] * scaling
        if soft_cap is not None:
            scores = soft_cap * torch.tanh(scores / soft_cap)
        read[task, head, row] = scores.softmax(0) @ all_values
    return read


def inputs(group=1, length=LENGTH, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape, size=1.0):
        return (size * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)

    query = drawn(TASKS, HEADS * group, ROWS, DEPTH, size=2.0)
    key, value = (drawn(TASKS, HEADS, ROWS, DEPTH) for _ in range(2))
    keys, values = (drawn(TASKS, HEADS, length, DEPTH) for _ in range(2))
    visible = torch.rand(TASKS, length, generator=generator) < 0.6
    visible[1] = True
    visible[2] = False  # the first token of a text: it sees itself only
    return [part.requires_grad_() for part in (query, key, value)], (keys, values, visible)


def gradients(function, own, rest, *constants):
    read = function(*own, *rest, *constants)
    direction = torch.linspace(-1, 1, read.numel(), dtype=read.dtype).view_as(read)
    return read, torch.autograd.grad(read, own, direction)


@pytest.mark.parametrize("soft_cap", [None, 3.0])
@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize("length", [0, 1, LENGTH])
def test_equals_plain_attention_and_its_gradients(group, length, soft_cap):
    own, rest = inputs(group, length)
    read, found = gradients(tail_attention, own, rest, 0.4, soft_cap)
    expected_read, expected = gradients(plain_attention, own, rest, 0.4, soft_cap)
    torch.testing.assert_close(read, expected_read, rtol=1e-12, atol=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("soft_cap", [None, 2.0])
def test_gradients_are_those_of_small_differences(soft_cap):
    own, (keys, values, visible) = inputs(group=2, length=3)
    own = [part.detach()[:, :, :2].contiguous().requires_grad_() for part in own]

    def read(query, key, value):
        return tail_attention(query, key, value, keys, values, visible, 0.5, soft_cap)

    assert torch.autograd.gradcheck(read, own)


def test_a_tail_that_sees_nothing_reads_its_own_value():
    own, (keys, values, visible) = inputs(group=2)
    read = tail_attention(*own, keys, values, torch.zeros_like(visible), 1.0)
    assert torch.equal(read, own[2].repeat_interleave(2, dim=1))


def test_what_is_not_visible_does_not_matter():
    own, (keys, values, visible) = inputs()
    other_keys, other_values = (
        part.where(visible[:, None, :, None], torch.full_like(part, 1e30))
        for part in (keys, values)
    )
    first = gradients(tail_attention, own, (keys, values, visible), 0.4)
    second = gradients(tail_attention, own, (other_keys, other_values, visible), 0.4)
    assert torch.equal(first[0], second[0])
    for one, other in zip(first[1], second[1], strict=True):
        assert torch.equal(one, other)


def test_tails_do_not_see_each_other():
    own, rest = inputs(group=2)
    read, found = gradients(tail_attention, own, rest, 0.4)
    moved = [part.detach().clone() for part in own]
    for part in moved:
        part[:, :, 1:] += 1.0
    again = tail_attention(*moved, *rest, 0.4)
    torch.testing.assert_close(again[:, :, 0], read[:, :, 0], rtol=1e-12, atol=1e-12)
    alone = [part.detach()[:, :, :1].clone().requires_grad_() for part in own]
    only = tail_attention(*alone, *rest, 0.4)
    direction = torch.linspace(-1, 1, read.numel(), dtype=read.dtype).view_as(read)
    expected = torch.autograd.grad(only, alone, direction[:, :, :1])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[:, :, :1], other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [1e3, 1e-3])
def test_large_and_small_scores_stay_finite(factor):
    own, rest = inputs()
    read, found = gradients(tail_attention, own, rest, factor)
    expected_read, expected = gradients(plain_attention, own, rest, factor)
    torch.testing.assert_close(read, expected_read, rtol=1e-10, atol=1e-10)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 5e-3)]
)
def test_other_types_are_near_float64(dtype, limit):
    own, rest = inputs(group=2, dtype=dtype)
    read, found = gradients(tail_attention, own, rest, 0.4)
    assert read.dtype == dtype
    exact = [part.detach().double().requires_grad_() for part in own]
    wide = (rest[0].double(), rest[1].double(), rest[2])
    expected_read, expected = gradients(plain_attention, exact, wide, 0.4)
    pairs = [(read.detach(), expected_read.detach()), *zip(found, expected, strict=True)]
    for one, other in pairs:
        assert float((one.double() - other).abs().max() / other.abs().max()) < limit


def test_the_prefix_takes_no_gradients():
    own, (keys, values, visible) = inputs()
    kept = keys.clone(), values.clone()
    keys.requires_grad_()
    tail_attention(*own, keys, values, visible, 0.4).sum().backward()
    assert keys.grad is None
    assert all(part.grad is not None for part in own)
    assert torch.equal(keys, kept[0])
    assert torch.equal(values, kept[1])
