"""The settings that tests run under are in force."""

import socket

import huggingface_hub.constants
import pytest
import pytest_socket

from brodmann.models.tokens import TokenisedAnswer


def test_types_are_checked_at_every_call():
    with pytest.raises(Exception, match="Type-check error"):
        TokenisedAnswer(ids="not ids", n_prompt=1)  # pyrefly: ignore


def test_there_is_no_network():
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket()
