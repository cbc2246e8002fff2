"""Evaluation the obvious way: one text at a time, no padding, no cache."""

import torch


def token_logprobs(hf, prompt, answer):
    """Log-probabilities [len(answer), V] at each of the answer's positions."""
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = hf(input_ids=ids, use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def answer_logprob(hf, prompt, answer):
    rows = token_logprobs(hf, prompt, answer)
    return sum(rows[i, token].item() for i, token in enumerate(answer))


def answer_margin(hf, prompt, answer):
    total = 0.0
    for row, token in zip(token_logprobs(hf, prompt, answer), answer, strict=True):
        others = [value for i, value in enumerate(row.tolist()) if i != token]
        total += row[token].item() - max(others)
    return total / len(answer)


def greedy(hf, prompt, n_tokens, stops=()):
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(n_tokens):
            token = hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax().item()
            if token in stops:
                break
            ids.append(token)
    return ids[len(prompt) :]
