"""The device that computes: a CUDA card where there is one, unless another device is asked for.

Importing this module imports no torch; choosing a device does.
"""

from __future__ import annotations

import re
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from universality.errors import DeviceWarning, UniversalityError

if TYPE_CHECKING:
    import torch

    Card: TypeAlias = torch.device
    """A device that torch computes on."""
else:
    Card = Any  # importing torch takes seconds

AUTO, CPU = "auto", "cpu"
_NAMES = re.compile(r"auto|cpu|cuda(:\d+)?")


def checked_device(device: str) -> str:
    """Return the name of a device if it is one.

    Raises
    ------
    UniversalityError
        If it is neither ``auto`` nor ``cpu``, ``cuda`` or ``cuda:N``.

    Examples
    --------
    >>> checked_device("cuda:1")
    'cuda:1'
    """
    if not _NAMES.fullmatch(device):
        raise UniversalityError(
            f"expected auto, cpu, cuda or the number of a card (cuda:1) as the device, found {device!r}"
        )
    return device


def choose_device(device: str = AUTO) -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    device
        ``auto``: the current CUDA card where there is one, otherwise the CPU. ``cpu``; ``cuda``: the current card;
        ``cuda:N``: a card by its number.

    Returns
    -------
    torch.device
        The CPU, with a warning, where the card that is asked for does not exist: a configuration may travel.

    Raises
    ------
    UniversalityError
        If there is no device of such a name.

    Warns
    -----
    DeviceWarning
        If the card does not exist.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    import torch

    wanted = checked_device(device)
    if wanted == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(wanted)
    if chosen.type == "cuda" and (problem := _missing(chosen)):
        warnings.warn(f"device {wanted}: {problem}; computing on the CPU", DeviceWarning, stacklevel=2)
        return torch.device("cpu")
    return chosen


def card_of(device: str = AUTO) -> torch.device | None:
    """Return the card to compute on, or None for the CPU, where it takes other code than torch.

    ``cpu``, and ``auto`` where torch is not installed, import no torch. Parameters, errors and warnings are those of
    `choose_device`.

    Examples
    --------
    >>> card_of("cpu") is None
    True
    """
    if checked_device(device) == CPU or (device == AUTO and find_spec("torch") is None):
        return None
    chosen = choose_device(device)
    return None if chosen.type == CPU else chosen


def describe_device(device: torch.device) -> str:
    """Name a device for people: ``cpu``, or a card with its model.

    Examples
    --------
    >>> describe_device(choose_device("cpu"))
    'cpu'
    """
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _missing(card: torch.device) -> str:
    """Say why a card cannot be used; "" if it can."""
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA card"
    n = torch.cuda.device_count()
    return "" if (card.index or 0) < n else f"the number of the last of the {n} cards is {n - 1}"
