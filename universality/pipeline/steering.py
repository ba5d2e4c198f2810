"""Steering: what the models of a finished run write when a feature, and its partner, are set to other values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap

import numpy as np

from universality.activations import ModelSite
from universality.arrays import FloatArray
from universality.corpus.tokenizer import Tokenizer
from universality.effects import Change, Intervention, ablate, check_effect, clamp, of_maximum, write
from universality.errors import MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.formatting import fixed, interval, percent, small
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.stages.model_sites import at_hook
from universality.sae import SAE
from universality.visible_tokens import pieces, visible

TIMES = 4.0
"""Multiple of its maximum to which a feature is set unless the caller says otherwise."""
_COLUMNS = 76  # of the printed text
_NULLS = {"global": "overall", "kind": "within kinds"}


@dataclass(frozen=True)
class FeatureName:
    """A feature of one of a run's SAEs."""

    model: str
    width: int
    sae_seed: int
    feature: int

    def __str__(self) -> str:
        return f"{visible(self.model)}:{self.feature}"


@dataclass(frozen=True)
class Setting:
    """Value to which features are set: a multiple of their maximum, a value, or 0 wherever they fire (ablated).

    Raises
    ------
    UniversalityError
        If more than one is given.
    """

    times: float | None = None
    value: float | None = None
    ablated: bool = False

    def __post_init__(self) -> None:
        if self.ablated + (self.times is not None) + (self.value is not None) > 1:
            raise UniversalityError("steer: times, value and ablate exclude each other; give one of them")

    def change(self, name: FeatureName, maxima: FloatArray) -> tuple[Change, str]:
        """Return what becomes of a feature, and the same in words; ``maxima`` [d_sae] are those of its SAE."""
        if self.ablated:
            return ablate([name.feature]), "ablated"
        if self.value is not None:
            return clamp([name.feature], self.value), f"at {self.value:.3g}"
        times = TIMES if self.times is None else self.times
        try:
            target = float(of_maximum([name.feature], times, maxima)[0])
        except UniversalityError as error:
            raise UniversalityError(f"{name}, width {name.width}: {error}") from None
        return clamp([name.feature], target), f"at {times:.3g} × its maximum ({target:.3g})"

    def for_partner(self, maximum: float) -> Setting:
        """Return the setting of a partner, given the feature's own maximum: a value becomes a multiple of it.

        Activations of two SAEs have scales of their own.
        """
        return self if self.value is None or not maximum else Setting(times=self.value / maximum)


@dataclass(frozen=True)
class Sampling:
    """How text is sampled; see `universality.effects.write`."""

    n_tokens: int = 40
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class PartnerScore:
    """A feature's matched partner in another SAE, with the pair's held-out r and what chance gives.

    Attributes
    ----------
    partner
        The partner.
    held_out, ci_low, ci_high
        Pearson's r on documents that were not used to choose partners, and its 95% interval.
    null_quantile
        Quantile 1 − alpha of the null scores of features that fire about as often.
    alpha
        The run's level of significance.
    q
        Null → q-value of the pair.
    """

    partner: FeatureName
    held_out: float
    ci_low: float
    ci_high: float
    null_quantile: float
    alpha: float
    q: dict[str, float]

    def __str__(self) -> str:
        bounds = interval(self.ci_low, self.ci_high)
        q = ", ".join(f"{small(value)} {null}" for null, value in self.q.items())
        return (
            f"  held-out r {fixed(self.held_out)}{f' (95%: {bounds})' if bounds else ''}\n"
            f"  by chance below {fixed(self.null_quantile)} for {percent(1 - self.alpha)} of features; q {q}"
        )


@dataclass(frozen=True)
class SteeredText:
    """Text that a model writes plain, and with one of its features set to another value.

    Attributes
    ----------
    feature
        The feature that is set.
    change
        What becomes of it, in words.
    plain, steered
        Texts of the tokens that follow the prompt.
    """

    feature: FeatureName
    change: str
    plain: tuple[str, ...]
    steered: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Steering:
    """Texts of both models, plain and steered, with a feature and its partners; printing it shows them.

    Attributes
    ----------
    feature
        The feature that was asked for.
    texts
        That feature's text, then those of its partners.
    partners
        Scores of its partners, one for each model (or other SAE of its model) that it was matched with.
    without
        Names of those in which it has none.
    prompt, sampling
        As given to `steer`.
    """

    feature: FeatureName
    texts: tuple[SteeredText, ...]
    partners: tuple[PartnerScore, ...]
    without: tuple[str, ...]
    prompt: str
    sampling: Sampling

    def __repr__(self) -> str:
        return "\n".join([*self._heading(), "", *self._sampling(), *self._texts()])

    def _heading(self) -> list[str]:
        lines = []
        for score in self.partners:
            seed = f" (SAE seed {score.partner.sae_seed})" if score.partner.model == self.feature.model else ""
            lines += [f"Feature {self.feature} and its partner {score.partner}{seed}", str(score)]
        lines += [f"Feature {self.feature} has no partner in {visible(name)}" for name in self.without]
        return lines or [f"Feature {self.feature}, of an SAE that was not matched"]

    def _sampling(self) -> list[str]:
        prompt = visible(self.prompt) if self.prompt else "none, the text begins"
        how = self.sampling
        drawn = f"temperature {how.temperature:g}, seed {how.seed}, the same noise for all"
        drawn = drawn if how.temperature else "greedy"
        shortest = min(len(text.plain) for text in self.texts)
        stopped = [f"  (stopped after {shortest}, where the context ends)"] if shortest < how.n_tokens else []
        return [
            *_wrapped(f"Prompt: {prompt}"),
            f"Sampling: {how.n_tokens} tokens, {drawn}",
            *stopped,
        ]

    def _texts(self) -> list[str]:
        lines: list[str] = []
        for number, text in enumerate(self.texts):
            model = visible(text.feature.model)
            if all(text.feature.model != earlier.feature.model for earlier in self.texts[:number]):
                lines += ["", f"{model}, plain", *_shown(text.plain)]
            lines += ["", f"{model}, {text.feature} {text.change}", *_shown(text.steered)]
        return lines


def steer(
    results: RunResults,
    site_of: Callable[[str], ModelSite],
    feature: str,
    prompt: str,
    setting: Setting,
    sampling: Sampling,
    *,
    width: int | None = None,
    sae_seed: int | None = None,
) -> Steering:
    """Write with a feature and with its partners; see `universality.Study.steer`.

    Parameters
    ----------
    results
        Results of the run.
    site_of
        Function from a model's name to the model at its SAEs' hook.
    feature, width, sae_seed
        See `find_feature`.
    """
    named = find_feature(results, feature, width, sae_seed)
    compared = _comparisons_with(results, named)
    scores = [_partner(result, side, named.feature) for result, side in compared]
    partners = tuple(score for score in scores if score is not None)
    for_partner = setting.for_partner(float(_maxima(results, named)[named.feature]))
    set_to = [(named, setting), *((score.partner, for_partner) for score in partners)]
    changes = [(name, *each.change(name, _maxima(results, name))) for name, each in set_to]
    texts = tuple(
        _written(results, site_of(name.model), name, change, words, prompt, sampling) for name, change, words in changes
    )
    without = tuple(
        c.comparison.sides[1 - side] for (c, side), score in zip(compared, scores, strict=True) if not score
    )
    return Steering(named, texts, partners, without, prompt, sampling)


def find_feature(results: RunResults, feature: str, width: int | None, sae_seed: int | None) -> FeatureName:
    """Find the feature that a text such as ``A:1380`` names.

    Raises
    ------
    UniversalityError
        If the run has no such model, width, SAE seed or feature; names the nearest.
    """
    model, _, index = feature.rpartition(":")
    if not model or not index.isascii() or not index.isdecimal():
        raise UniversalityError(f"feature {feature!r}: expected a model and a number, as in A:1380")
    names, grid = results.config.models.names, results.grid()
    if model not in names:
        near = difflib.get_close_matches(model, names, n=1, cutoff=0)
        raise UniversalityError(
            f"{results.folder.root}: no model {model!r}; the nearest of {', '.join(names)} is {near[0]}"
        )
    widths = sorted({w for name, w, _ in grid if name == model})
    width = max(widths, default=0) if width is None else width
    seeds = [seed for name, w, seed in grid if (name, w) == (model, width)]
    if not seeds:
        nearest = f"; the nearest of {', '.join(map(str, widths))} is {_nearest(width, widths)}" if widths else ""
        raise UniversalityError(f"{results.folder.root}: no SAE of {model} with width {width}{nearest}")
    sae_seed = seeds[0] if sae_seed is None else sae_seed
    if sae_seed not in seeds:
        raise UniversalityError(
            f"{results.folder.root}: no SAE of {model}, width {width}, with seed {sae_seed}; the nearest of "
            f"{', '.join(map(str, seeds))} is {_nearest(sae_seed, seeds)}"
        )
    found = FeatureName(model, width, sae_seed, int(index))
    n_features = _store(results, found).n_features
    if found.feature >= n_features:
        raise UniversalityError(
            f"{results.folder.root}: the SAE of {model} with width {width} has features 0 to {n_features - 1}, found "
            f"{found.feature}"
        )
    return found


def _nearest(value: int, options: Sequence[int]) -> int:
    return min(options, key=lambda option: abs(option - value))


def _store(results: RunResults, name: FeatureName) -> FeatureStore:
    return results.store(results.folder.store(name.model, name.width, name.sae_seed))


def _maxima(results: RunResults, name: FeatureName) -> FloatArray:
    return np.asarray(_store(results, name).moments().max, np.float64)


def _comparisons_with(results: RunResults, name: FeatureName) -> list[tuple[ComparisonResult, int]]:
    """List the matchings of a feature's SAE, each with the side that it is: with other models, if there are any."""
    store = results.folder.store(name.model, name.width, name.sae_seed)
    of_store = [
        (result, side)
        for result in results.compared
        for side, path in enumerate((result.comparison.a, result.comparison.b))
        if path == store
    ]
    across = [(result, side) for result, side in of_store if result.comparison.of == "models"]
    return across or of_store


def _partner(result: ComparisonResult, side: int, feature: int) -> PartnerScore | None:
    c, match = result.comparison, result.calibration.match
    place = np.flatnonzero((match.rows, match.cols)[side] == feature)
    if not place.size:
        return None
    chances, other = result.calibration.chances, 1 - side
    pair = int(place[0])
    return PartnerScore(
        FeatureName(c.models[other], c.widths[other], c.seeds[other], int((match.rows, match.cols)[other][pair])),
        held_out=float(result.calibration.held_out[pair]),
        ci_low=float(result.calibration.ci_low[pair]),
        ci_high=float(result.calibration.ci_high[pair]),
        alpha=float(result.calibration.settings["alpha"]),
        null_quantile=float(chances[0].tau[pair]) if chances else math.nan,
        q={_NULLS.get(chance.null, chance.null): float(chance.q[pair]) for chance in chances},
    )


def _written(
    results: RunResults,
    site: ModelSite,
    name: FeatureName,
    change: Change,
    words: str,
    prompt: str,
    sampling: Sampling,
) -> SteeredText:
    """Let a model write plain and with a change of one feature, from the same noise."""
    config, folder = results.config, results.folder
    sae = SAE.load(folder.sae(name.model, name.width, name.sae_seed)).to(site.device)
    out = at_hook(site, config.hooks_out[name.model]) if name.model in config.hooks_out else None
    check_effect(out or site)
    vocabulary = _Vocabulary.of_run(results, name.model, site.model.d_vocab)
    ids = vocabulary.encode(prompt)
    plain, steered = (
        write(site, ids, edits, never=vocabulary.never, **asdict(sampling))[0]
        for edits in ([], [Intervention(site, sae, change, out)])
    )
    return SteeredText(name, words, vocabulary.decode(plain), vocabulary.decode(steered))


@dataclass(frozen=True)
class _Vocabulary:
    """Tokens of a model of a run."""

    bos_id: int
    never: tuple[int, ...]
    """Ids that stand for no text."""
    tokenizer: Tokenizer | None
    """None where the corpus was given as token ids."""

    @classmethod
    def of_run(cls, results: RunResults, model: str, d_vocab: int) -> _Vocabulary:
        """Read the vocabulary of a model that embeds ``d_vocab`` ids."""
        corpus, tokenizer = results.config.corpus, results.tokenizer(model)
        if tokenizer is None:
            return cls(corpus.bos_id, (corpus.bos_id, *corpus.special_ids), None)
        return cls(tokenizer.bos_id, (*tokenizer.ids_without_text, *range(tokenizer.d_vocab, d_vocab)), tokenizer)

    def encode(self, prompt: str) -> list[int]:
        """Return BOS and the tokens of a prompt; numbers where the run has no tokenizer."""
        if self.tokenizer is None:
            return [self.bos_id, *_numbers(prompt)]
        ids = self.tokenizer.encode([prompt])[0]
        if special := sorted(set(ids) & set(self.tokenizer.special_ids)):
            raise MismatchError(
                f"prompt: {self.tokenizer.token_strings[special[0]]!r} is a special token, which no text holds; leave "
                "it out"
            )
        return [self.bos_id, *ids]

    def decode(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return the text of each token."""
        texts = None if self.tokenizer is None else self.tokenizer.token_texts
        return tuple(f" {int(i)}" if texts is None else texts[int(i)] for i in ids)


def _numbers(prompt: str) -> list[int]:
    try:
        return [int(word) for word in prompt.split()]
    except ValueError:
        raise UniversalityError(
            f"prompt: this run's corpus is token ids without a tokenizer; expected ids as in '17 5', found {prompt!r}"
        ) from None


def _shown(tokens: Sequence[str]) -> list[str]:
    return _wrapped("".join(piece.text for piece in pieces(tokens)), indent="  ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Break a visible text into lines, at spaces where there are any; every character is kept."""
    return wrap(
        text, _COLUMNS, initial_indent=indent, subsequent_indent=indent, expand_tabs=False, replace_whitespace=False,
        drop_whitespace=False, break_on_hyphens=False,
    )  # fmt: skip
