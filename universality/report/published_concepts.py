"""What Bricken et al. 2023, *Towards Monosemanticity*, report for features of two one-layer transformers.

Another corpus, 40,960,000 tokens, dictionaries up to 131,072 wide, the best partner with replacement and no held-out
split: a landmark, not a target.
"""

from dataclasses import dataclass

CITATION = "Bricken et al. 2023, Towards Monosemanticity"
FEATURES_MEDIAN = 0.72
NEURONS_MEDIAN = 0.46


@dataclass(frozen=True)
class PublishedConcept:
    """Correlation of a concept's features across models, and of the feature with the most similar single neuron; None
    where none is given."""

    activation_r: float
    logit_r: float | None = None
    best_neuron_r: float | None = None


CONCEPTS = {
    "arabic-script": PublishedConcept(0.91, logit_r=0.23),
    "base64": PublishedConcept(0.85, best_neuron_r=0.18),
    "dna": PublishedConcept(0.92),
    "hebrew": PublishedConcept(0.92, best_neuron_r=0.10),
}
"""By the starter corpus's names of kinds."""
