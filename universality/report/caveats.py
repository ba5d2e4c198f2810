"""Cautions that follow from the numbers of a report, and limits of every run."""

from universality.corpus.splits import MIN_GROUPS
from universality.formatting import count, fixed, listed, of_all, percent, plural
from universality.report.data import LEAST_DIFFERENCE, Caution, Headline, LanguageModels, Report, SaeQuality
from universality.report.effect_caveats import effect_cautions
from universality.report.effect_narrative import own
from universality.report.logit_narrative import logit_caveat
from universality.report.narrative import known
from universality.statistics import sae_acceptance

LEAST_SCORED = 0.9
"""Populations with a smaller share of scored features get a warning."""
LEAST_TOKENS = 1_000_000
"""With fewer, the best of thousands of independent sparse features has a sizeable r by chance."""


def cautions(report: Report) -> tuple[Caution, ...]:
    """List everything in a report's numbers that weakens its answer; those given by the caller come last."""
    saes = [sae for row in report.widths for sae in (row.a, row.b)] + list(report.saes)
    from_numbers = (*_comparison(report.headline), *_language_models(report.models), *_saes(saes), *_concepts(report))
    of_logits = logit_caveat(report.headline, report.logit)
    advice = "Compare features by activation, or by effects, rather than by logit weights."
    given = [one if isinstance(one, Caution) else Caution(one) for one in report.warnings]
    in_logits = [Caution(of_logits, advice, in_settings=False)] if of_logits else []
    return (*from_numbers, *in_logits, *effect_cautions(report.effects), *given)


def _comparison(headline: Headline) -> list[Caution]:
    lines = []
    if 0 <= headline.n_tokens < LEAST_TOKENS:
        lines.append(
            Caution(
                f"Partners are scored on {plural(headline.n_tokens, 'token')}; with fewer than {count(LEAST_TOKENS)} "
                "the scores of rarely firing features are uncertain.",
                "Hold out more text (corpus.held_out, or more documents); until then, trust features that fire often: "
                "the figure of similarity by firing count shows them.",
            )
        )
    if headline.of("features") and headline.of("null") is None:
        lines.append(
            Caution(
                "There is no null, so the numbers cannot be compared with chance: the documents that choose partners "
                "have too few full blocks of different works to re-pair.",
                "Give more or longer documents, or a smaller corpus.n_ctx. (From Python, replicates=0 asks for no "
                "null.)",
            )
        )
    features = headline.of("features")
    if features and any(ceiling.median < features.median - LEAST_DIFFERENCE for ceiling in headline.of_all("ceiling")):
        lines.append(
            Caution(
                "A ceiling lies below the features' median, so it is no upper bound.",
                "Train both SAEs of the ceiling with the settings of the others; until then, do not read it as a "
                "bound.",
            )
        )
    return [*lines, *_unscored(headline)]


def _unscored(headline: Headline) -> list[Caution]:
    """Warn of populations with so many unscored features that this decides how to read their numbers."""
    sparse = [
        f"{part.label} ({of_all(part.n_scored, part.n)})"
        for part in headline.populations
        if part.n_scored < LEAST_SCORED * part.n
    ]
    if not sparse:
        return []
    return [
        Caution(
            f"Many features have no score on held-out text: {listed(sparse)}. They fire too rarely there, or have no "
            "partner. Medians and shares count them below every score.",
            "Hold out more text (corpus.held_out, or more documents), or compare narrower dictionaries.",
        )
    ]


def _language_models(models: LanguageModels | None) -> list[Caution]:
    if models is None or not known(models.bigram):
        return []
    return [
        Caution(
            f"{row.name} does not predict held-out text better than a bigram table ({fixed(row.loss)} against "
            f"{fixed(models.bigram)} nats a token): its features may depend on pairs of tokens only.",
            "Train it for longer or on more text (models.training), or load a trained model.",
        )
        for row in models.rows
        if known(row.loss) and row.loss >= models.bigram
    ]


_FAULTS = {
    "explained_variance": f"explain less than {percent(sae_acceptance.LEAST_EXPLAINED_VARIANCE)} of the variance",
    "typical_explained_variance": "explain much less of the median token than of all tokens together, which a few "
    "tokens of large norm decide",
    "loss_recovered": f"recover less of the model's loss than the {percent(sae_acceptance.LEAST_LOSS_RECOVERED)} of "
    "the worst dictionary in Bricken et al.",
    "dead_share": f"have more than {percent(sae_acceptance.MOST_DEAD)} dead features",
    "l0": "have no feature on most tokens",
    "density": f"use more than {percent(sae_acceptance.MOST_DENSE)} of their features on a token",
}
_REMEDIES = {
    "explained_variance": "Train for longer (saes.tokens), or with more features on a token (saes.k, saes.l1).",
    "typical_explained_variance": "Leave tokens of huge norm out of training: set saes.max_norm_ratio.",
    "loss_recovered": "Train for longer (saes.tokens), wider, or with more features on a token (saes.k, saes.l1).",
    "dead_share": "Train for longer (saes.tokens), or set saes.resample_at.",
    "l0": "Allow more features on a token: raise saes.k, or lower saes.l1.",
    "density": "Allow fewer features on a token: lower saes.k, or raise saes.l1.",
}
_AS_NUMBERS = {"loss_recovered", "explained_variance", "typical_explained_variance", "l0"}


def _saes(saes: list[SaeQuality]) -> list[Caution]:
    bad: dict[str, list[str]] = {}
    for sae in saes:
        for fault in sae_acceptance.faults(
            width=sae.width,
            explained_variance=sae.explained_variance,
            l0=sae.l0,
            dead_share=sae.dead_share,
            loss_recovered=sae.loss_recovered,
            typical_explained_variance=sae.typical_explained_variance,
        ):
            share = fault.value / sae.width if fault.measure == "density" else fault.value
            shown = fixed(share) if fault.measure in _AS_NUMBERS else percent(share)
            bad.setdefault(fault.measure, []).append(f"{sae.model}, {count(sae.width)} wide ({shown})")
    return [
        Caution(
            f"Some SAEs {what}: {listed(bad[measure])}. Features that an SAE does not represent cannot match.",
            _REMEDIES[measure],
        )
        for measure, what in _FAULTS.items()
        if measure in bad
    ]


def _concepts(report: Report) -> list[Caution]:
    few = [row.kind for row in report.concepts if row.n_groups is not None and row.n_groups < MIN_GROUPS]
    if not few:
        return []
    return [
        Caution(
            f"{plural(len(few), 'kind')} of {len(report.concepts)} in the table of concepts, marked with †, "
            f"{'was' if len(few) == 1 else 'were'} cut from fewer than {MIN_GROUPS} works, too few to resample, so "
            "their intervals are rough.",
            "Rely on the other kinds; further works of these would narrow their intervals.",
            in_settings=False,
        )
    ]


def _what_firing_shows(report: Report) -> str:
    start = (
        "A correlation shows that two features fire on the same tokens, not that they have the same effect on the "
        "model's predictions. Logit-weight r, where given, compares their direct effects only."
    )
    if own(report.effects) is None:
        return start
    return (
        f"{start} r of effects compares what both do to the loss, to first order, one firing at a time and only where "
        "both fire: it does not show what many features do together, or where one of the two is silent."
    )


def limits(report: Report) -> tuple[str, ...]:
    """List what no number on the page can show."""
    n_models = len(report.models.rows) if report.models else 2
    lines = [
        f"The study has {plural(n_models, 'language model')} and one corpus, so it does not show how much the "
        "answer varies with other seeds, sizes or text.",
        "Each interval covers one source of variation. That of a median is over features, or over works (documents, in "
        "kinds of few works) with the pairs held fixed, for the same amount of other text; that of a pair is over "
        "works. None covers another training seed of the models or of the SAEs, or the small rise in r of sparse "
        "features with much more text.",
        _what_firing_shows(report),
        "The null re-pairs whole passages. Over the whole corpus any two features of one script beat it; only the null "
        "within kinds is stricter.",
        "An SAE finds the features that its width, sparsity and training allow. A comparison across models cannot find "
        "what two SAEs of one model do not share.",
    ]
    if report.headline.summary.method == "hungarian":
        lines.append(
            "Pairs are one to one. A feature that is split in the other dictionary is paired with one of the parts, so "
            "its r is lower than that with the parts together."
        )
    return (*lines, *report.limits)
