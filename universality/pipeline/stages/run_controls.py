"""Controls of a study: how similar are features where nothing was learnt, or only luck differs?

Floors, each at the sparsity of the study's own SAEs: a language model with shuffled weights, an SAE that was never
trained, an SAE whose decoder stayed random, and the models' neurons. Ceilings: two SAE seeds of each model, and one
SAE seed on the same text in two orders. All have the headline's width and are matched and calibrated as the study is.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from universality.config import Config
from universality.errors import ConfigError
from universality.execution import connected
from universality.export import write_csv
from universality.files import read_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import Comparison, comparisons, headline_width, matching_device, units_of
from universality.pipeline.task import Task, is_done

if TYPE_CHECKING:
    from universality.sae import SAE

STAGE, VERSION = "controls", 4
Bound = Literal["floor", "study", "ceiling"]


@dataclass(frozen=True)
class Control:
    """A control: the name of its files, its label in tables, and what it bounds."""

    name: str
    label: str
    bound: Bound


SHUFFLED = Control("shuffled-models", "models with shuffled weights", "floor")
UNTRAINED = Control("untrained-saes", "SAEs that were not trained", "floor")
FROZEN = Control("frozen-decoders", "SAEs with a frozen random decoder", "floor")
ORDERS = Control("data-orders", "two data orders of one SAE seed", "ceiling")
CONTROLS = (SHUFFLED, UNTRAINED, FROZEN, ORDERS)
MATCHED = {
    "models": ("study", "SAE features"),
    "neurons": ("floor", "neurons"),
    "ceiling": ("ceiling", "two SAE seeds of {}"),
}


def tasks(config: Config, folder: RunFolder) -> list[Task]:
    """Return the tasks that make the controls of a study whose matches are made.

    Raises
    ------
    ConfigError
        If the study has one model only, SAEs that were loaded, or models of several tokenizers.
    """
    if len(config.models.names) < 2:
        raise ConfigError("controls compare two models; name a second one under models.load or models.train")
    if config.saes.load:
        raise ConfigError(
            "controls train SAEs as the study's own were trained, which is not known of those under saes.load; run "
            "controls on a configuration that trains its SAEs"
        )
    if config.models.tokenizers:
        raise ConfigError("controls are made over the tokens of one tokenizer; these models have several")
    saes = config.saes.stage_settings(without={"load"})
    settings = [config.hook, saes, config.features.model_dump(exclude={"pool"}), config.statistics.as_dict()]
    after = ("corpus", *(f"train-models/{name}" for name in config.models.names[:2]), "train-saes")
    first = config.models.names[0]
    trained = [
        Task(
            f"{STAGE}/{control.name}",
            settings,
            (*after, f"collect/{first}") if control is ORDERS else after,
            partial(_make_control, config, folder, control),
            VERSION,
        )
        for control in CONTROLS
    ]
    matched = [f"match/{comparison.name}" for comparison in _matched(config, folder)]
    table = partial(_make_table, config, folder)
    return [*trained, Task(f"{STAGE}/table", None, (*(task.name for task in trained), *matched), table, VERSION)]


def made_controls(config: Config, folder: RunFolder) -> Iterator[tuple[Control, Path]]:
    """Iterate over the controls that are up to date, each with the file of its calibration."""
    if len(config.models.names) < 2 or config.saes.load or config.models.tokenizers:
        return
    by_name = {task.name: task for task in tasks(config, folder)}
    for control in CONTROLS:
        if is_done(by_name[f"{STAGE}/{control.name}"], folder.root):
            yield control, _calibration(folder, control)


def _calibration(folder: RunFolder, control: Control) -> Path:
    return folder.root / "controls" / f"{control.name}.npz"


def _matched(config: Config, folder: RunFolder) -> Iterator[Comparison]:
    """Iterate over the study's own comparisons that stand beside the controls in the table."""
    for comparison in comparisons(config, folder):
        if comparison.width in (None, headline_width(config)) and set(comparison.models) <= set(
            config.models.names[:2]
        ):
            yield comparison


def _make_control(config: Config, folder: RunFolder, control: Control) -> list[Path]:
    """Train the SAEs of a control, store their features and match them; return the files."""
    from universality.corpus import TokenBlocks
    from universality.features import FeatureStore
    from universality.features.collection import collect
    from universality.statistics import calibrate

    blocks = TokenBlocks.load(folder.blocks)
    sites = _sites(config, folder, control)
    saes = _saes(config, folder, control, sites, blocks.select("train"))
    home = folder.root / "controls"
    home.mkdir(exist_ok=True)
    stores = {name: home / f"{control.name}.{name}.h5" for name in sites}
    for name, site in sites.items():
        collect(site, {stores[name]: saes[name]}, blocks.select("choose", "report"), overwrite=True)
    pair = list(stores.values())
    if len(pair) == 1:  # compared with the study's own SAE of that model
        name = config.models.names[0]
        pair.insert(0, folder.store(name, headline_width(config), config.saes.seeds[0]))
    with connected(config.scheduler) as executor, FeatureStore.open(pair[0]) as a, FeatureStore.open(pair[1]) as b:
        device = matching_device(config)
        calibration = calibrate(a, b, **config.statistics.for_calibrate(), executor=executor, device=device)
    return [calibration.save(_calibration(folder, control)), *stores.values()]


def _sites(config: Config, folder: RunFolder, control: Control) -> Mapping[str, Any]:
    """Return the models of a control at the hook, by name."""
    from universality.models.shuffled_weights import shuffled
    from universality.pipeline.stages.model_sites import live_sites, make_sites

    names = config.models.names[:2]
    if control is ORDERS:
        return make_sites(config, folder, names[:1])
    if control is not SHUFFLED:
        return make_sites(config, folder, names)
    return live_sites(config, folder, names, load=shuffled)  # layers of one model stay layers of one


def _saes(
    config: Config, folder: RunFolder, control: Control, sites: Mapping[str, Any], train: Any
) -> dict[str, "SAE"]:
    """Train the control's SAE for each model."""
    from universality.pipeline.stages.sae_training import Stream, specs_of, steps_of, summarised
    from universality.sae import SAETrainer, clear_checkpoints, train_grid

    s, width, seed = config.saes, headline_width(config), config.saes.seeds[0]
    of_width = specs_of(config, next(iter(sites.values())).device)
    steps = steps_of(config)
    options = {"batch_size": s.batch_size, "buffer_tokens": s.buffer_tokens, "stop": steps}
    order = s.order_seed + (control is ORDERS)
    with closing(Stream(sites, train, seed=order, **options)) as stream:
        trainers = {}
        for name in sites:
            spec = of_width[name, f"w{width}-s{seed}"]
            if control is not ORDERS:  # a floor at another sparsity than the study's would be easier to beat
                l0 = float(read_json(folder.sae(name, width, seed) / "quality.json")["l0"])
                spec = replace(spec, architecture="topk", k=max(1, round(l0)), nested=())
            if control is FROZEN:
                spec = replace(spec, train_decoder=False)
            trainers[name, control.name] = SAETrainer(spec, summarised(name, stream.samples[name], spec), steps)
        if control is not UNTRAINED:
            target = folder.root / "controls" / control.name
            made_from = {name: {"control": control.name, "model": site.model_hash} for name, site in sites.items()}
            train_grid(trainers, stream.from_step, target, checkpoint_steps=s.checkpoint_steps, made_from=made_from)
            clear_checkpoints(target)
    return {name: trainer.finish({"control": control.name}) for (name, _), trainer in trainers.items()}


def _make_table(config: Config, folder: RunFolder) -> list[Path]:
    """Write ``controls.csv`` and the figure: the study between floors and ceilings."""
    from universality.report import figures
    from universality.report.data import Role, sample
    from universality.statistics import Calibration
    from universality.statistics.between_controls import between
    from universality.statistics.calibration import THRESHOLDS

    home = folder.root / "controls"
    paths = {control: _calibration(folder, control) for control in CONTROLS}
    roles: dict[Control, Role] = dict.fromkeys(CONTROLS, "control")
    for comparison in _matched(config, folder):
        bound, label = MATCHED[comparison.of]
        label = units_of(config) if comparison.of == "neurons" else label.format(comparison.models[0])
        control = Control(comparison.name, label, bound)  # type: ignore[arg-type]
        paths[control] = folder.calibration(comparison.name)
        roles[control] = "features" if comparison.of == "models" else comparison.of  # type: ignore[assignment]
    rows, samples = [], []
    for control, path in paths.items():
        calibration = Calibration.load(path)
        summary = calibration.summary()
        rows.append(
            {
                "control": control.label,
                "kind": control.bound,
                "held_out_median": summary.held_out_median,
                "nearest_median": summary.nearest_median,
                **{f"share_{r:g}": share for r, share in zip(THRESHOLDS, summary.shares, strict=True)},
                "null_median": summary.null.median,
                "n_living": summary.n_living,
                "n_scored": summary.n_scored,
            }
        )
        samples.append(sample(roles[control], control.label, calibration.held_out, calibration.match.n_without_partner))
    table = between(pd.DataFrame(rows))
    target = home / "controls.csv"
    write_csv(table, target)
    order = table["control"].tolist()
    samples.sort(key=lambda part: order.index(part.label))
    title = "The study between its floors and ceilings"
    caption = figures.describe_distribution(samples)
    drawn = figures.picture("controls", "answer", title, figures.best_match_distribution(samples), caption)
    return [target, *figures.save_picture(drawn, home)]
