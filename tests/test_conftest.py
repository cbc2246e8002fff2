"""The settings that tests run under are in force."""

import socket

import huggingface_hub.constants
import pytest
import pytest_socket
import torch

from brodmann.models.tokens import TokenisedAnswer
from brodmann.neurons import NeuronSet


def test_types_are_checked_at_every_call():
    with pytest.raises(Exception, match="Type-check error"):
        TokenisedAnswer(ids="not ids", n_prompt=1)  # pyrefly: ignore


def test_shapes_are_checked_at_every_call():
    real = torch.ones(2, 3, dtype=torch.bool)
    assert len(NeuronSet.from_mask(real, real)) == 6
    with pytest.raises(Exception, match=r"(?s)Type-check error.*real"):
        NeuronSet.from_mask(real, real[:, :2])


def test_there_is_no_network():
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket()
