"""Activations of several models on one token stream, harvested from the models or read from a cache on disk.

A *site* is one model at one hook. To *harvest* is to run the model up to the hook and keep the activations there.

Names are imported when first used: a machine without TransformerLens can train from a cache.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.activations.batches import shuffled_batches
    from universality.activations.cache import CachedSite, find_cache, open_cache
    from universality.activations.cache_writer import write_cache
    from universality.activations.joint_site import JointSite, balancing_scales, joined
    from universality.activations.model_site import ModelSite, check_models, resolve_hook, spliced_loss
    from universality.activations.site import Rows, Site, harvest, rows_of

_HOME = {
    "CachedSite": "universality.activations.cache",
    "JointSite": "universality.activations.joint_site",
    "ModelSite": "universality.activations.model_site",
    "Rows": "universality.activations.site",
    "Site": "universality.activations.site",
    "balancing_scales": "universality.activations.joint_site",
    "check_models": "universality.activations.model_site",
    "find_cache": "universality.activations.cache",
    "harvest": "universality.activations.site",
    "joined": "universality.activations.joint_site",
    "open_cache": "universality.activations.cache",
    "resolve_hook": "universality.activations.model_site",
    "rows_of": "universality.activations.site",
    "shuffled_batches": "universality.activations.batches",
    "spliced_loss": "universality.activations.model_site",
    "write_cache": "universality.activations.cache_writer",
}
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
    return import_name(__name__, name, _HOME)
