"""Activations of several models on one token stream, harvested from the models or read from a cache on disk.

A *site* is one model at one hook. To *harvest* is to run the model up to the hook and keep the activations there. Names
that need TransformerLens are imported on first use, so that a machine without it can train from a cache.
"""

from typing import TYPE_CHECKING, Any

from universality.activations.batches import shuffled_batches
from universality.activations.cache import CachedSite, find_cache, open_cache
from universality.activations.cache_writer import write_cache
from universality.activations.joint_site import JointSite, balancing_scales, joined
from universality.activations.site import Rows, Site, harvest, rows_of

if TYPE_CHECKING:
    from universality.activations.model_site import ModelSite, check_models, resolve_hook, spliced_loss

_LIVE = ("ModelSite", "check_models", "resolve_hook", "spliced_loss")
__all__ = [
    "CachedSite",
    "JointSite",
    "ModelSite",
    "Rows",
    "Site",
    "balancing_scales",
    "check_models",
    "find_cache",
    "harvest",
    "joined",
    "open_cache",
    "resolve_hook",
    "rows_of",
    "shuffled_batches",
    "spliced_loss",
    "write_cache",
]


def __getattr__(name: str) -> Any:
    if name not in _LIVE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from universality.activations import model_site as live

    return getattr(live, name)
