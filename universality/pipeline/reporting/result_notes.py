"""Notes on a comparison that weaken its answer, as cautions of a page."""

from collections.abc import Sequence

from universality.formatting import listed
from universality.pipeline.reporting.note_advice import caution_of
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.report.data import Caution


def result_notes(results: RunResults, compared: ComparisonResult) -> list[Caution]:
    """List the notes of the calibration, and what the two SAEs have in common or not."""
    # the report has a warning of its own for kinds of few groups
    notes = [note for note in compared.calibration.notes if not note.startswith("kinds of few groups")]
    return [*map(caution_of, merge_kind_notes(notes)), *_sae_notes(results, compared)]


def _sae_notes(results: RunResults, compared: ComparisonResult) -> list[Caution]:
    """List differences and similarities of loaded SAEs that change how their comparison is read."""
    likeness, (a, b) = results.likeness(compared), compared.comparison.sides
    notes = []
    if likeness.began_alike:
        notes.append(
            Caution(
                f"The SAEs of {a} and {b} began from the same weights: {likeness.beginning}. Features that "
                "agree for this reason do not show that the models agree.",
                "Train or load one of them from other initial weights.",
            )
        )
    if likeness.differences and compared.comparison.of == "models":
        notes.append(
            Caution(
                f"The SAEs of {a} and {b} differ in {listed(list(likeness.differences))}: where their features "
                "disagree, the SAEs may be the reason, not the models.",
                "Compare SAEs of one recipe, or read the disagreement as that of models and SAEs together.",
            )
        )
    unrecorded = [r.comparison.models[0] for r in results.ceilings(compared) if not results.likeness(r).recorded]
    if compared.comparison.of == "seeds" and not likeness.recorded:
        unrecorded.append(compared.comparison.models[0])
    if unrecorded:
        notes.append(
            Caution(
                f"The files of the two SAEs of {listed(unrecorded)} do not record how they were trained, so it is not "
                "known whether they differ in their seed only.",
                "Ask their authors, or read the ceiling as that of two SAEs that may differ in more.",
                in_settings=False,
            )
        )
    return notes


def merge_kind_notes(notes: Sequence[str]) -> list[str]:
    """Merge notes on kinds that one work dominates, of which a corpus may have dozens, into one."""
    dominated = [note for note in notes if note.startswith("kind ") and "one group holds" in note]
    if len(dominated) < 2:
        return list(notes)
    kinds = [note.removeprefix("kind ").split(":")[0] for note in dominated]
    merged = (
        f"In {len(kinds)} kinds one work holds more than half of the text, so little or none of it can be re-paired "
        f"with other works and take part in the null within kinds: {listed(kinds)}."
    )
    return [*(note for note in notes if note not in dominated), merged]
