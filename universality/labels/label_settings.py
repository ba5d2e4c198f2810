"""Settings of explaining features and of scoring explanations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Gt, Lt, MinLen

from universality.checked_settings import CheckedSettings, Count, Natural, Share
from universality.errors import ConfigError

Method = Literal["simulation", "detection", "fuzzing"]
"""Ways in which a scorer uses an explanation."""
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class LabelSettings(CheckedSettings):
    """Examples that explain and score a feature, and how they are asked for.

    The numbers of examples are those of Bricken et al. 2023, *Towards Monosemanticity*: 49 explain, 60 score.

    Examples
    --------
    >>> settings = LabelSettings()
    >>> settings.n_explaining, settings.n_scoring
    (49, 60)
    >>> LabelSettings(explain_top=5, per_interval=1).n_explaining
    32
    """

    scores: Annotated[tuple[Method, ...], MinLen(1)] = METHODS
    """Scores to measure: ``simulation`` (correlation of predicted with true activations), ``detection`` (does the text
    activate the feature?) and ``fuzzing`` (are the marked tokens those on which it fires?)."""
    explain_top: Count = 10
    """Strongest examples that are shown to the explainer."""
    explain_random: Natural = 5
    """Random examples that are shown to the explainer."""
    explain_other: Natural = 10
    """Examples shown to the explainer in which the feature's top tokens occur and it is silent."""
    score_top: Count = 6
    """Strongest examples that are scored."""
    score_random: Natural = 10
    """Random examples that are scored."""
    score_other: Natural = 20
    """Scored examples in which the feature's top tokens occur and it is silent."""
    n_intervals: Natural = 12
    """Intervals of activation below the top one, of equal width."""
    per_interval: Natural = 2
    """Examples from each of these intervals, for explaining and for scoring."""
    # A feature of a language model depends on the tokens before, so more of these are shown. With nine tokens an
    # example, 49 examples take near 3,000 tokens.
    before: Natural = 6
    """Tokens shown before the token of an example."""
    after: Natural = 2
    """Tokens shown after it."""
    top_tokens: Count = 10
    """Top tokens of a feature: those that hold most of its activation."""
    logit_tokens: Natural = 10
    """Tokens that the feature raises most, and as many that it lowers, from which a second explanation is made; as many
    others score it. 0 for none; none either where a store has no weights from features to logits."""
    examples_a_prompt: Count = 10
    """Examples scored in one prompt. Fewer make the task easier for a small model, and cost more."""
    explanation_tokens: Count = 120
    """Most tokens of an explanation."""
    floors: bool = True
    """Score other features' explanations, and the list of top tokens, in the same way, which makes four times as
    many prompts."""
    min_answered: Share = 0.5
    """Share of predictions that must be there; with fewer a score is NaN."""
    shuffles: Count = 200
    """Shuffles of the simulated values within the example set."""
    draws: Natural = 200
    """Resamples of the documents for the interval of a correlation; 0 for no intervals."""
    level: Annotated[float, Gt(0), Lt(1)] = 0.95
    """Nominal coverage of intervals."""
    seed: Natural = 0
    """Seed of the examples, of the order of examples in prompts, of floors and of resamples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.scores if name not in METHODS]
        if unknown or len(set(self.scores)) < len(self.scores):
            raise ConfigError(f"scores must be among {', '.join(METHODS)}, each once, found {', '.join(self.scores)}")

    @property
    def n_explaining(self) -> int:
        """Examples that explain a feature, if it has enough."""
        return self.explain_top + self.n_intervals * self.per_interval + self.explain_random + self.explain_other

    @property
    def n_scoring(self) -> int:
        """Examples that score an explanation, if the feature has enough."""
        return self.score_top + self.n_intervals * self.per_interval + self.score_random + self.score_other

    @property
    def width(self) -> int:
        """Tokens of an example."""
        return self.before + 1 + self.after
