"""A run's results as one object, for Python and notebooks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from functools import cached_property
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from universality.config import Config
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.files import as_path
from universality.formatting import counts
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.statistics.calibration import THRESHOLDS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from universality.activations import ModelSite
    from universality.effects import ModelFeatures
    from universality.family import Families
    from universality.features import FeatureStore
    from universality.labels import (
        ChatModel,
        Concept,
        Embed,
        Labels,
        LabelSettings,
        LabelTransfer,
        LiteratureSettings,
        SpecificitySettings,
        SplitGain,
        TokenPrices,
        TransferSettings,
    )
    from universality.matching import Match
    from universality.pipeline.label_run import LabelPlan, RunLabels
    from universality.pipeline.run_literature import RunLiterature
    from universality.pipeline.run_transfer import RunTransfer
    from universality.pipeline.scoring_plan import ScoringPlan
    from universality.pipeline.steering import Steering
    from universality.statistics import Calibration, EffectAgreement, SharedLoss


class Study:
    """Results of a run: what `compare` returns, and what `Study.open` finds in a run's folder.

    Every method reads the run's files. Numbers are those of the *headline*: the first
    two models, or two SAE seeds of one model, at the largest width. Stores are opened when first used, and closed by
    `close` or at the end of a ``with`` block.

    Parameters
    ----------
    folder
        The run's folder.

    Attributes
    ----------
    folder : Path
    config : Config
        The resolved configuration, as ``config.yaml`` in the folder holds it.

    Raises
    ------
    UniversalityError
        If the folder is not that of a run, or the run has no matching yet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = as_path(folder)
        self._stores = OpenStores()
        self._sites: dict[str, ModelSite] = {}
        self._results = RunResults.of_run(self.folder, self._stores)
        self.config: Config = self._results.config
        assert self._results.headline is not None  # or the run would have been refused
        self._headline: ComparisonResult = self._results.headline

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open the folder of a run, such as ``runs/quickstart``; raises as the class does."""
        return cls(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the stores."""
        self._stores.close()

    @property
    def sides(self) -> tuple[str, str]:
        """Names of the two sides of the headline: rows and columns of the matching."""
        return self._headline.comparison.sides

    @property
    def calibration(self) -> Calibration:
        """Partners with held-out scores, null distributions and ceilings."""
        return self._headline.calibration

    @property
    def match(self) -> Match:
        """One-to-one partners, chosen on one half of the held-out documents."""
        return self.calibration.match

    @property
    def stores(self) -> tuple[FeatureStore, FeatureStore]:
        """The two feature stores of the headline."""
        a, b = self._paths
        return self._stores[a], self._stores[b]

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self._headline.comparison.a, self._headline.comparison.b

    def store(self, model: str, width: int | None = None, seed: int | None = None) -> FeatureStore:
        """Open the store of one SAE, by default of the largest width and the first SAE seed.

        Raises
        ------
        UniversalityError
            If the run has no such store; names those that it has.
        """
        grid = self._results.grid()
        if model not in self.config.models.names:
            raise UniversalityError(
                f"{self.folder}: no model {model!r}; the models are {', '.join(self.config.models.names)}"
            )
        of_model = [item for item in grid if item[0] == model]
        width = max((item[1] for item in of_model), default=None) if width is None else width
        seed = min((item[2] for item in of_model if item[1] == width), default=None) if seed is None else seed
        if (model, width, seed) not in grid:
            listed = ", ".join(f"{name} width {w} seed {s}" for name, w, s in grid)
            raise UniversalityError(f"{self.folder}: no store of {model}, width {width}, seed {seed}; it has {listed}")
        return self._stores[RunFolder(self.folder).store(model, width, seed)]  # type: ignore[arg-type]

    def model_features(self, model: str, width: int | None = None, seed: int | None = None) -> ModelFeatures:
        """Return the features of one SAE with what is needed to change them: its model, SAE, store and text.

        Raises
        ------
        UniversalityError
            If the run has no such store, as `store`.
        ModelError
            If the model cannot be loaded.
        """
        from universality.effects import ModelFeatures
        from universality.pipeline.stages.model_sites import at_hook, blocks_of
        from universality.sae import SAE

        store, site, folder = self.store(model, width, seed), self.site(model), RunFolder(self.folder)
        sae = SAE.load(folder.root / "saes" / model / store.path.stem.removeprefix(f"{model}.")).to(site.device)
        blocks = blocks_of(self.config, folder, model).select("choose", "report")
        hooks_out = self.config.hooks_out  # of transcoders
        return ModelFeatures(site, sae, store, blocks, at_hook(site, hooks_out[model]) if model in hooks_out else None)

    def families(self, model: str) -> Families:
        """Load the families of one model's dictionaries.

        Raises
        ------
        UniversalityError
            If the run has none, as with a single width.
        """
        from universality.family import Families

        path = RunFolder(self.folder).families(model)
        if not path.is_file():
            raise UniversalityError(
                f"{path}: no families of {model}; a run builds them for each of its models if saes.widths has several"
            )
        return Families.load(path)

    @property
    def effects(self) -> EffectAgreement:
        """Agreement of the effects of the headline's pairs, against chance, controls and ceilings.

        Raises
        ------
        UniversalityError
            If the run has not measured effects.
        """
        if self._headline.effects is None:
            path = RunFolder(self.folder).effect_agreement(self._headline.comparison.name)
            raise UniversalityError(f"{path}: no effects; {self._no_effects()}")
        return self._headline.effects

    def shared_loss(self, model: str) -> SharedLoss:
        """Load the loss that a model's shared features carry.

        Raises
        ------
        UniversalityError
            If the run has not measured it.
        """
        from universality.statistics import SharedLoss

        path = RunFolder(self.folder).shared_loss(model)
        if not path.is_file() or not self.config.effects.measure:
            raise UniversalityError(f"{path}: no loss of shared features; {self._no_effects()}")
        return SharedLoss.load(path)

    def _no_effects(self) -> str:
        """Say why there are none."""
        if not self.config.effects.measure:  # files may be left from an earlier configuration
            return "the run's effects.measure is false"
        return "the stage `effects` of a run measures them, and says in *.unmeasured.json what it cannot measure"

    def summary(self) -> pd.DataFrame:
        """Tabulate the held-out r of the best partner: of features, and of what they are compared with.

        Returns
        -------
        pandas.DataFrame
            One row each for SAE features, neurons, ceilings and the null, indexed by name. ``n`` living features, of
            which ``n_scored`` have a score; ``median`` over all n, those without a score below every score; ``low``
            and ``high``, its 95% interval over ``n_works`` works; ``share_0.5`` and ``share_0.7``, the shares of n
            with r of at least that.
        """
        import pandas as pd

        from universality.pipeline.reporting.report_rows import samples

        populations = [sample.population() for sample in samples(self._results, self._headline)]
        rows = [
            {
                "population": part.label,
                "n": part.n,
                "n_scored": part.n_scored,
                "median": part.median,
                "low": part.low_works,
                "high": part.high_works,
                "n_works": part.n_works,
                **{f"share_{t:g}": share for t, share in zip(THRESHOLDS, part.shares, strict=True)},
            }
            for part in populations
        ]
        return pd.DataFrame(rows).set_index("population")

    def logit_summary(self) -> pd.DataFrame:
        """Tabulate what the features write: partners by logit weights, against chance and ceilings.

        Returns
        -------
        pandas.DataFrame
            One row each for SAE features, neurons and ceilings, indexed by name; none where the run has no matching by
            logit weights. ``n`` living features; ``median`` r of their partners by logit weights, on token types that
            did not choose them, with its 95% interval ``low`` to ``high``. For each null, its median
            ``null_vocabulary`` and ``null_directions``, and the share of n with q at or below the run's level,
            ``significant_vocabulary`` and ``significant_directions``. ``same_partner``, the share of features whose
            partner by activation is that by logit weights, with ``same_at_random`` and ``same_by_firings``. Then the
            median logit r of partners by activation, ``pairs_median``, and the 95% quantile of random pairs,
            ``random_pairs_95``. See `universality.report.data.LogitRow`.
        """
        import pandas as pd

        from universality.pipeline.reporting.report_rows import logit_rows

        table = {
            row.label: {
                "n": row.summary.n_living,
                "median": row.summary.held_out_median,
                "low": row.summary.median_ci[0],
                "high": row.summary.median_ci[1],
                **{f"null_{name}": null.median for name, null in row.summary.nulls.items()},
                **{f"significant_{name}": null.share_significant for name, null in row.summary.nulls.items()},
                "same_partner": row.same_partner.share,
                "same_at_random": row.same_partner.by_chance,
                "same_by_firings": row.same_partner.by_firings,
                "pairs_median": row.pairs_median,
                "random_pairs_95": row.random_pairs_95,
            }
            for row in logit_rows(self._results, self._headline)
        }
        return pd.DataFrame.from_dict(table, orient="index").rename_axis("matched")

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """All matched pairs with both features' descriptions, strongest first: the table in ``matches/``.

        Columns are those of `universality.export.match_table`; ``held_out`` is the score to quote.
        """
        from universality.pipeline.stages.write_exports import pair_table

        described = [self._results.described(path) for path in self._paths]
        return pair_table(
            self.config, RunFolder(self.folder), self._headline.comparison, described, self._results.decode
        )

    def graph(self, path: str | Path) -> Path:
        """Write the matched pairs as a graph: ``.graphml``, ``.gexf``, ``.cyjs`` or ``.json`` (node-link).

        Raises
        ------
        UniversalityError
            If the ending is another.
        """
        from universality.export import match_graph, write_graph_file
        from universality.pipeline.stages.write_exports import TOP_TOKENS

        described = [self._results.described(path) for path in self._paths]
        graph = match_graph(
            self.match,
            *described,
            pairs=self.pairs,
            names=self.sides,
            decode=self._results.decode,
            k=TOP_TOKENS,
            labels=[self._results.labels(path) for path in self._paths],
        )
        return write_graph_file(graph, path)

    def heatmap(self, n: int = 30, which: Literal["spaced", "best"] = "spaced", ax: Axes | None = None) -> Axes:
        """Draw the held-out correlations of ``n`` pairs' features; see `universality.plot.heatmap`."""
        from universality import plot

        return plot.heatmap(
            self.stores,
            matching=self.calibration,
            n=n,
            which=which,
            names=self.sides,
            decode=self._results.decode,
            ax=ax,
        )

    def ecdf(self, ax: Axes | None = None) -> Axes:
        """Draw the shares of features that have a partner of at least r; see `universality.plot.ecdf`."""
        from universality import plot
        from universality.pipeline.reporting.report_rows import samples

        return plot.ecdf(samples(self._results, self._headline), ax=ax)

    def pair(self, row: int, col: int | None = None, ax: Axes | None = None) -> Axes:
        """Draw the activations of a feature and its partner (or of any two) on the same tokens.

        Parameters
        ----------
        row, col
            Features of the two sides; ``col`` is by default the matched partner of ``row``.
        ax
            See `universality.plot.pair`.

        Raises
        ------
        UniversalityError
            If ``row`` has no matched partner and ``col`` is not given.
        """
        from universality import plot

        if col is None:
            partner = self.pairs.loc[self.pairs["row"] == row, "col"]
            if partner.empty:
                raise UniversalityError(f"feature {row} of {self.sides[0]} has no matched partner; give col as well")
            col = int(partner.iloc[0])
        return plot.pair(
            *self.stores,
            row,
            col,
            calibration=self.calibration,
            names=self.sides,
            decode=self._results.decode,
            ax=ax,
        )

    def steer(
        self,
        feature: str,
        prompt: str = "",
        *,
        times: float | None = None,
        value: float | None = None,
        ablate: bool = False,
        width: int | None = None,
        sae_seed: int | None = None,
        n_tokens: int = 40,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> Steering:
        """Let both models write on from a prompt, plain and with a feature, or its partner, set to another value.

        The feature is set at every token but BOS, and the SAE's error is kept. Plain and steered text share their
        sampling noise. Models stay loaded for the next call.

        Parameters
        ----------
        feature
            Model and number, such as ``A:1380``.
        prompt
            Text to continue; by default the text begins. Where the run's corpus is token ids: ids, such as ``"17 5"``.
        times
            Multiple of the largest activation on held-out text to which the feature is set, 4 by default; its partner
            is set to the same multiple of its own largest activation.
        value
            Activation to which the feature is set instead; its partner is set to the same multiple of its maximum.
        ablate
            Set both to 0 instead.
        width, sae_seed
            The SAE: by default the model's widest, of the run's first seed.
        n_tokens
            Largest number of tokens to write. Writing stops where a model's context ends.
        temperature
            Logits are divided by it before sampling; 0 takes the most probable token.
        seed
            Seed of the noise.

        Returns
        -------
        Steering
            Print it to read the texts.

        Raises
        ------
        UniversalityError
            If the run has no such feature, the feature never fires and a multiple of its maximum is asked for, a number
            is out of range, or the models cannot be run.
        """
        from universality.pipeline.steering import Sampling, Setting, steer

        return steer(
            self._results,
            self.site,
            feature,
            prompt,
            Setting(times, value, ablate),
            Sampling(n_tokens, temperature, seed),
            width=width,
            sae_seed=sae_seed,
        )

    def label(
        self,
        features: str | Iterable[str] = "matched",
        *,
        explainer: ChatModel,
        scorer: ChatModel | None = None,
        settings: LabelSettings | None = None,
        prices: TokenPrices | None = None,
        scorer_prices: TokenPrices | None = None,
        width: int | None = None,
        replace: bool = False,
        confirm: Callable[[LabelPlan], bool] | None = None,
    ) -> RunLabels:
        """Have a language model explain matched features of both sides, and score the explanations.

        One half of the held-out documents explains the features of both sides, and the other half scores them. Labels
        are written to ``labels/`` in the run's folder, one file an SAE; the same call resumes an interrupted one. The
        next report and the next export show them.

        Parameters
        ----------
        features
            ``"matched"``: features of all matched pairs; ``"best 200"``: of the pairs with the highest held-out r;
            ``"random 200"``: of pairs drawn at random; ``"A:1380,B:7"`` or a list of such names: these features and
            their partners.
        explainer
            Model that writes explanations, such as `universality.labels.Endpoint` or `universality.labels.LocalModel`.
        scorer
            Model that predicts activations from explanations; the explainer by default.
        settings
            Examples, scores and floors.
        prices, scorer_prices
            Prices of the two models, for the estimate and the progress bar; the explainer's also hold for the scorer if
            it is the same model.
        width
            Width of the first side's SAE; the headline's by default.
        replace
            Begin again where labels were made from something else. Answers that are kept are not asked again.
        confirm
            Function that is given the plan with its cost before anything is asked; false ends the call.

        Returns
        -------
        RunLabels
            Print it to read the scores beside their floors.

        Raises
        ------
        UniversalityError
            If the run has no such feature, the models cannot be used, or ``confirm`` declines.
        MismatchError
            If there are labels that were made from something else, unless ``replace``.
        """
        from universality.labels import LabelSettings
        from universality.pipeline.label_run import PricedModel, label_run

        explaining = PricedModel(explainer, prices)
        scoring = explaining if scorer is None else PricedModel(scorer, scorer_prices)
        try:
            return label_run(
                self._results, features, explaining, scoring, settings or LabelSettings(),
                width=width, replace=replace, confirm=confirm,
            )  # fmt: skip
        finally:
            self._results.forget_labels()

    @property
    def labels(self) -> dict[str, Labels]:
        """Labels of the headline's two stores by name of the side; a side without labels is left out.

        Labels that were made from other contents of their store are left out too.
        """
        found = ((name, self._results.labels(path)) for name, path in zip(self.sides, self._paths, strict=True))
        return {name: labels for name, labels in found if labels is not None}

    def transfer(
        self,
        *,
        scorer: ChatModel,
        settings: TransferSettings | None = None,
        specificity: SpecificitySettings | None = None,
        prices: TokenPrices | None = None,
        confirm: Callable[[ScoringPlan], bool] | None = None,
    ) -> RunTransfer:
        """Measure whether explanations of the first side predict their partners, and hold where their features fire.

        Needs the labels that `label` makes. Second SAE seeds and the agreement of effects are used where the run has
        them. Results are written to ``labels/`` in the run's folder.

        Parameters
        ----------
        scorer
            The model that scored the labels.
        settings
            Pairs of features on which explanations are tried.
        specificity
            Firings that are judged.
        prices
            Prices of the model, for the estimate and the progress bar.
        confirm
            Function that is given the plan of all measurements with their cost before anything is asked; false ends the
            call.

        Returns
        -------
        RunTransfer
            Print it to read the findings.

        Raises
        ------
        UniversalityError
            If the first side has no labels, the model cannot be used, or ``confirm`` declines.
        MismatchError
            If the labels were scored by another model.
        """
        from universality.pipeline.label_run import PricedModel
        from universality.pipeline.run_transfer import transfer_run

        return transfer_run(self._results, PricedModel(scorer, prices), settings, specificity, confirm=confirm)

    @property
    def label_transfer(self) -> LabelTransfer:
        """Scores of the first side's explanations on the second side's features.

        Raises
        ------
        UniversalityError
            If the run has not measured them.
        """
        from universality.labels import LabelTransfer

        path = RunFolder(self.folder).label_transfer(self._headline.comparison.name)
        if not path.is_file():
            raise UniversalityError(f"{path}: no transfer of explanations; `universality label-transfer` measures it")
        return LabelTransfer.load(path)

    def split_gain(self, model: str, name: str = "detection") -> SplitGain:
        """Compare the scores of explanations of split features with those of their children.

        Needs labels of two widths of a model or more, which `label` makes with ``width``.

        Parameters
        ----------
        model
            Name of the model.
        name
            Score, such as ``"detection"``.

        Raises
        ------
        UniversalityError
            If the model has no families, or fewer than two of its widths have labels with that score.
        """
        from universality.labels import explanation_scores, split_gain
        from universality.pipeline.reporting.label_rows import labels_of_widths

        families = self.families(model)
        labels = labels_of_widths(self._results, model, families)
        scores = [explanation_scores(of_width, name) for of_width in labels]
        if sum(map(bool, scores)) < 2:
            raise UniversalityError(
                f"{self.folder}: expected {name} scores of labels of two widths of {model} or more, found "
                f"{sum(map(bool, scores))}; `universality label {self.folder} --width WIDTH` labels narrower ones"
            )
        return split_gain(families, scores)

    def literature(
        self,
        concepts: Iterable[Concept] | None = None,
        *,
        scorer: ChatModel,
        settings: LiteratureSettings | None = None,
        most: int | None = None,
        width: int | None = None,
        embed: Embed | None = None,
        prices: TokenPrices | None = None,
        out: str | Path | None = None,
        confirm: Callable[[ScoringPlan], bool] | None = None,
    ) -> RunLiterature:
        """Search for published concepts among the labelled features of both sides.

        Needs the labels that `label` makes, of 105 features or more of a side with the default settings. Answers are
        kept in ``labels/`` in the run's folder, so that the same call resumes an interrupted one.

        Parameters
        ----------
        concepts
            Published concepts, such as `universality.labels.read_reported` reads; by default those that the study of
            Bricken et al. names (`universality.labels.CONCEPTS`).
        scorer
            Model that judges the features' examples by the published descriptions.
        settings
            Shortlist, null and level.
        most
            Largest number of concepts; of more, as many are drawn at random.
        width
            Width of the first side's SAE; the headline's by default.
        embed
            Function from texts to vectors that chooses the shortlist in place of shared words.
        prices
            Prices of the scorer, for the estimate and the progress bar.
        out
            JSON file to write, and beside it a CSV file; in ``labels/`` of the run's folder by default.
        confirm
            Function that is given the plan with its cost before anything is asked; false ends the call.

        Returns
        -------
        RunLiterature
            Print it to read the table.

        Raises
        ------
        UniversalityError
            If no side has labels, or too few for a null, the model cannot be used, or ``confirm`` declines.
        """
        from universality.labels import CONCEPTS
        from universality.pipeline.label_run import PricedModel
        from universality.pipeline.run_literature import literature_run

        return literature_run(
            self._results, PricedModel(scorer, prices), CONCEPTS if concepts is None else concepts, settings,
            most=most, width=width, embed=embed, out=out, confirm=confirm,
        )  # fmt: skip

    def site(self, model: str) -> ModelSite:
        """Return a model at the hook of its SAEs, loaded when first asked for.

        Raises
        ------
        ModelError
            If the model cannot be loaded.
        """
        from universality.pipeline.stages.model_sites import live_site

        if model not in self._sites:
            try:
                self._sites[model] = live_site(self.config, RunFolder(self.folder), model)
            except (ModelError, MismatchError) as error:
                raise ModelError(
                    f"{self.folder}: model {model!r} cannot be loaded, as is needed to run it: {error}"
                ) from None
        return self._sites[model]

    def report(self) -> Path:
        """Return the page to open in a browser, written now if the run ended before its report."""
        from universality.pipeline.reporting.report_pages import report_as_it_is

        page = RunFolder(self.folder).report
        return page if page.is_file() else report_as_it_is(self.folder)

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}): {self._title()}\n{self.summary().to_string(float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        from universality.notebook_card import card

        table = self.summary().to_html(float_format="{:.3f}".format, border=0)  # escapes names
        summary = self.calibration.summary()
        numbers = {
            "pairs": summary.n_pairs,
            f"share with q ≤ {summary.q_level:g}": summary.share_significant("global"),
            f"share with q ≤ {summary.q_level:g} within kinds": summary.share_significant("kind"),
            "folder": str(self.folder),
        }
        return card(f"Study: {self._title()}", numbers) + table + self._picture()

    def _picture(self) -> str:
        """Draw `ecdf` as an image of about 15 kB that needs no file beside the notebook."""
        from PIL import Image

        from universality.plot.style import new_figure, styled

        figure = new_figure(6.4, 3)
        styled(lambda: self.ecdf(ax=figure.subplots()))()
        drawn, content = BytesIO(), BytesIO()
        figure.savefig(drawn, format="png", dpi=90)
        Image.open(drawn).convert("RGB").quantize(64).save(content, "png", optimize=True)  # of half the size
        image = base64.b64encode(content.getvalue()).decode()
        return f'<img alt="Share of features that have a partner of at least r" src="data:image/png;base64,{image}">'

    def _title(self) -> str:
        a, b = self.sides
        hooks = " and ".join(dict.fromkeys(self.config.hooks.values()))
        return f"{a} and {b} at {hooks}, {counts(list(dict.fromkeys(self._headline.comparison.widths)))} features"
