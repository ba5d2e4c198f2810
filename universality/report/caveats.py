"""What a reader must know before believing the numbers: warnings that follow from them, and the limits that stay."""

from universality.report.data import Headline, LanguageModels, Report, SaeQuality
from universality.report.formatting import count, fixed, listed, of_all, percent, plural
from universality.report.narrative import known
from universality.statistics import sae_acceptance as fitness

FEW_GROUPS = 8
LEAST_SCORED = 0.9
"""Share of a population below which it is said that the rest has no score."""
LEAST_TOKENS = 1_000_000
"""Below it the best of thousands of independent sparse features has a sizeable r by chance."""


def warnings(report: Report) -> tuple[str, ...]:
    """Everything in the report's numbers that weakens its answer; those that it was given come last."""
    saes = [sae for row in report.widths for sae in (row.a, row.b)] + list(report.saes)
    found = (*_comparison(report.headline), *_language_models(report.models), *_saes(saes), *_concepts(report))
    return (*found, *report.warnings)


def _comparison(headline: Headline) -> list[str]:
    found = []
    if 0 <= headline.n_tokens < LEAST_TOKENS:
        found.append(
            f"Partners are scored on {plural(headline.n_tokens, 'token')}; with fewer than {count(LEAST_TOKENS)} the "
            "scores of rarely firing features are uncertain. Look at the null and at similarity by firing count."
        )
    if headline.of("features") and headline.of("null") is None:
        found.append(
            "There is no null, so nothing here says what chance gives: the documents that choose hold too few full "
            "blocks of different works to re-pair. Give more or longer documents, or a smaller corpus.n_ctx. (From "
            "Python, replicates=0 asks for none.)"
        )
    features = headline.of("features")
    if features and any(ceiling.median < features.median - 0.02 for ceiling in headline.of_all("ceiling")):
        found.append("A ceiling lies below the features' median, so it bounds nothing.")
    return [*found, *_unscored(headline)]


def _unscored(headline: Headline) -> list[str]:
    """Populations of which so many have no score that it decides how to read their numbers."""
    found = [
        f"{part.label} ({of_all(part.n_scored, part.n)})"
        for part in headline.populations
        if part.n_scored < LEAST_SCORED * part.n
    ]
    if not found:
        return []
    return [
        f"Many have no score on held-out text: {listed(found)}. The others fire too rarely there, or have no partner. "
        "Medians and shares count them below every score."
    ]


def _language_models(models: LanguageModels | None) -> list[str]:
    if models is None or not known(models.bigram):
        return []
    return [
        f"{row.name} does not predict held-out text better than a bigram table ({fixed(row.loss)} against "
        f"{fixed(models.bigram)} nats a token): its features may be about pairs of tokens only."
        for row in models.rows
        if known(row.loss) and row.loss >= models.bigram
    ]


_FAULTS = {
    "explained_variance": f"explain less than {percent(fitness.LEAST_EXPLAINED_VARIANCE)} of the variance",
    "typical_explained_variance": "explain much less of the median token than of all together: a few of "
    "large norm decide the latter",
    "loss_recovered": f"recover less of the model's loss than the {percent(fitness.LEAST_LOSS_RECOVERED)} of the least "
    "dictionary in Bricken et al.",
    "dead_share": f"have more than {percent(fitness.MOST_DEAD)} dead features",
    "l0": "have no feature on most tokens",
    "density": f"use more than {percent(fitness.MOST_DENSE)} of their features on a token",
}
_AS_NUMBERS = {"loss_recovered", "explained_variance", "typical_explained_variance", "l0"}


def _saes(saes: list[SaeQuality]) -> list[str]:
    bad: dict[str, list[str]] = {}
    for sae in saes:
        for fault in fitness.faults(
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
        f"Some SAEs {what}: {listed(bad[measure])}. What they do not represent cannot match."
        for measure, what in _FAULTS.items()
        if measure in bad
    ]


def _concepts(report: Report) -> list[str]:
    few = [row.kind for row in report.concepts if row.n_groups is not None and row.n_groups < FEW_GROUPS]
    if not few:
        return []
    return [
        f"{plural(len(few), 'kind')} of {len(report.concepts)} in the table of concepts, marked with †, "
        f"{'was' if len(few) == 1 else 'were'} cut from fewer than {FEW_GROUPS} works: resampling works says little "
        "about them, so their intervals are rough."
    ]


def limits(report: Report) -> tuple[str, ...]:
    """What no number on the page can show."""
    n_models = len(report.models.rows) if report.models else 2
    found = [
        f"The study holds {plural(n_models, 'language model')} and one corpus, so nothing here says how much the "
        "answer varies with other seeds, sizes or text.",
        "Each interval covers one thing alone: a median's is over features, or over works (documents, in kinds of few "
        "works) with the pairs held fixed, for as much other text; a pair's is over works. None covers another "
        "training seed, of the models or of the SAEs, nor that the r of sparse features rises a little with much more "
        "text.",
        "A correlation says that two features fire on the same tokens, not that they do the same for what the model "
        "predicts; where logit-weight r is given, it looks at their direct effect alone.",
        "The null re-pairs whole passages. Over the whole corpus any two features of one script beat it; only the null "
        "within a kind asks for more than that.",
        "An SAE finds the features that its width, sparsity and training reach. What two SAEs of one model do not "
        "share, no comparison across models can.",
    ]
    if report.headline.method == "hungarian":
        found.append(
            "Pairs are one to one. A feature that is split in the other dictionary gets one of the parts, and its r "
            "falls short of what the parts together would give."
        )
    return (*found, *report.limits)
