"""What all tests share: no hub, one thread per worker, and the bundled models, opened once."""

import os

# Before anything imports torch or the hub's client, which read these only once.
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

from tests.shape_checks import install

install("brodmann")  # before anything imports it

REAL_MODELS = {"smollm2": "smollm2-135m", "gemma3": "gemma3-270m"}


def pytest_configure():
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests on a bundled model are marked, and stay on one worker, which opens it once."""
    for item in items:
        if used := sorted(REAL_MODELS.keys() & set(getattr(item, "fixturenames", ()))):
            item.add_marker(pytest.mark.real_model)
            item.add_marker(pytest.mark.xdist_group(used[-1]))


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M (Llama): the same object for all tests, to be left as it is."""
    return _open("smollm2")


@pytest.fixture(scope="session")
def gemma3():
    """Gemma 3 270M (normalises the MLP's output): the same object for all tests."""
    return _open("gemma3")


def _open(fixture):
    # Imported late: the hook that checks shapes must see every import of brodmann.
    from brodmann import load_model

    return load_model(REAL_MODELS[fixture])
