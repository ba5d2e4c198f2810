"""Quality of SAEs on held-out text: reconstruction, sparsity, and the model's loss with the SAE in it."""

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from universality.activations import Site, harvest
from universality.arrays import evenly_spaced
from universality.config import Config
from universality.files import write_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import at_hook, blocks_of, can_run_models, live_site, sites_out
from universality.sae import SAE, LossRecovered, Quality


def measure_quality(
    config: Config, folder: RunFolder, sites: Mapping[str, Site], saes: Iterable[tuple[str, str]]
) -> None:
    """Write ``quality.json`` beside each of the SAEs, which are named as in ``("A", "w512-s0")``."""
    saes, written = list(saes), sites_out(config, folder, sites)
    for name, site in sites.items():
        folders = [folder.root / "saes" / model / sae for model, sae in saes if model == name]
        if not folders:
            continue
        held_out = blocks_of(config, folder, name).select("choose", "report")
        part = held_out.take(evenly_spaced(len(held_out), config.saes.quality_blocks))
        measured = {target: Quality(SAE.load(target)) for target in folders}
        out = written.get(name)  # where transcoders write
        for _, activations in harvest({"read": site} if out is None else {"read": site, "written": out}, part):
            for quality in measured.values():
                quality.update(activations["read"], target=activations.get("written"))
        # A cache holds activations alone; the loss with an SAE spliced in needs the model itself.
        runnable = live_site(config, folder, name) if config.activations.cache and can_run_models() else site
        if out is None:
            loss = loss_through = partial(runnable.spliced_loss, part)
        else:
            loss = partial((out if runnable is site else at_hook(runnable, out.hook)).spliced_loss, part)
            loss_through = partial(loss, reads=runnable)
        mean = next(iter(measured.values())).mean  # of the activations: the same for all SAEs of a model
        clean, zero, average = loss(lambda x: x), loss(torch.zeros_like), loss(partial(_constant, mean))
        for target, quality in measured.items():
            spliced = loss_through(quality.sae.reconstruct)
            losses = LossRecovered(clean=clean, spliced=spliced, zero=zero, mean=average)
            scale = {name: quality.sae.metadata[name] for name in ("activation_scale",) if name in quality.sae.metadata}
            write_json(target / "quality.json", {**quality.compute().as_dict(), **scale, "loss": losses.as_dict()})


def _constant(value: Tensor, x: Tensor) -> Tensor:
    return value.to(x.device).expand_as(x)
