"""Values of Bricken et al. 2023, *Towards Monosemanticity*, for features of two one-layer transformers.

They used another corpus, 40,960,000 tokens, dictionaries of up to 131,072 features, nearest partners that may repeat,
and no held-out split. Their values are landmarks, not targets.
"""

from dataclasses import dataclass

CITATION = "Bricken et al. 2023, Towards Monosemanticity"
FEATURES_MEDIAN = 0.72
NEURONS_MEDIAN = 0.46


@dataclass(frozen=True)
class PublishedConcept:
    """Correlations of a concept's features across models, and with the most similar neuron; None if not published."""

    activation_r: float
    logit_r: float | None = None
    best_neuron_r: float | None = None


CONCEPTS = {
    "arabic-script": PublishedConcept(0.91, logit_r=0.23),
    "base64": PublishedConcept(0.85, best_neuron_r=0.18),
    "dna": PublishedConcept(0.92),
    "hebrew": PublishedConcept(0.92, best_neuron_r=0.10),
}
"""Kind in the starter corpus → published values."""
