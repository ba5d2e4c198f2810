"""One switch chooses the device, and a card that is missing is replaced with a word."""

import pytest
import torch

from universality import devices
from universality.config import parse_config
from universality.devices import card_of, checked_device, choose_device
from universality.errors import ConfigError, DeviceWarning, UniversalityError
from universality.sae.training.distributed import join_ranks

MODELS = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}


def test_auto_is_a_card_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")


def test_a_missing_card_is_replaced_by_the_cpu_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(DeviceWarning, match=r"device cuda:1: torch \S+ finds no CUDA card; computing on the CPU"):
        assert choose_device("cuda:1") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.warns(DeviceWarning, match="the number of the last of the 2 cards is 1"):
        assert choose_device("cuda:2") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CPU", ""])
def test_names_of_no_device_are_refused(name: str) -> None:
    with pytest.raises(UniversalityError, match=r"expected auto, cpu, cuda or the number of a card"):
        checked_device(name)
    with pytest.raises(ConfigError, match="device: expected auto, cpu, cuda or the number of a card"):
        parse_config({"models": MODELS, "device": name})


def test_processes_do_not_share_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="2 processes cannot share a card; give device cuda"):
        join_ranks("cuda:0")


def test_a_card_is_none_where_the_cpu_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert card_of("cuda") == card_of() == torch.device("cuda")
    assert card_of("cpu") is None
    with pytest.warns(DeviceWarning, match="computing on the CPU"):
        assert card_of("cuda:1") is None
    monkeypatch.setattr(devices, "find_spec", lambda name: None)  # as if torch were not installed
    assert card_of() is None
    with pytest.raises(UniversalityError, match="expected auto, cpu, cuda"):
        card_of("tpu")
