"""Explanations of features by a language model, and scores of the explanations.

An explainer reads examples of a feature's firings and writes what it responds to; a scorer is given the explanation
alone and predicts the firings in other text. Scores stand beside floors, which tell what a score is worth.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.labels.answer_cache import AnswerCache, prompt_key
    from universality.labels.asking import Estimate, Tally, ask, estimate
    from universality.labels.chat import Answer, ChatModel, Message, Prompt, TokenPrices
    from universality.labels.concept_lists import CONCEPTS, Concept, published_concepts, read_concepts
    from universality.labels.concept_search import Embed, LabelledModel, LiteratureSettings
    from universality.labels.delphi_labels import read_delphi, write_delphi
    from universality.labels.endpoint import Endpoint
    from universality.labels.excerpt_text import TokenText
    from universality.labels.explaining import explanation_prompts
    from universality.labels.explanation_specificity import measure_specificity
    from universality.labels.feature_examples import FeatureExamples, check_halves, find_examples
    from universality.labels.label_file import FeatureLabel, Labels, LabelWriter, read_labels
    from universality.labels.label_settings import LabelSettings
    from universality.labels.label_specificity import LabelSpecificity
    from universality.labels.label_transfer import LabelTransfer
    from universality.labels.labelling import label
    from universality.labels.literature import ConceptResult, LiteratureComparison, compare_literature
    from universality.labels.local_model import LocalModel
    from universality.labels.neuronpedia_labels import read_neuronpedia, write_neuronpedia
    from universality.labels.predictions import Predictions, ScoringPrompt, read_predictions, scoring_prompts
    from universality.labels.published import AttachedLabels, PublishedLabel, PublishedLabels, attach
    from universality.labels.reported import read_reported
    from universality.labels.sampled_firings import SpecificitySettings
    from universality.labels.scoring import Score, score
    from universality.labels.split_explanations import SplitGain, explanation_scores, split_gain
    from universality.labels.summary import summarise
    from universality.labels.token_counts import TokenCount, check_contexts, expected_tokens
    from universality.labels.transfer import measure_transfer
    from universality.labels.transfer_trials import SecondSeed, TransferSettings

_HOME = {
    "Answer": "universality.labels.chat",
    "AnswerCache": "universality.labels.answer_cache",
    "AttachedLabels": "universality.labels.published",
    "CONCEPTS": "universality.labels.concept_lists",
    "ChatModel": "universality.labels.chat",
    "Concept": "universality.labels.concept_lists",
    "ConceptResult": "universality.labels.literature",
    "Embed": "universality.labels.concept_search",
    "Endpoint": "universality.labels.endpoint",
    "Estimate": "universality.labels.asking",
    "FeatureExamples": "universality.labels.feature_examples",
    "FeatureLabel": "universality.labels.label_file",
    "LabelSettings": "universality.labels.label_settings",
    "LabelSpecificity": "universality.labels.label_specificity",
    "LabelTransfer": "universality.labels.label_transfer",
    "LabelWriter": "universality.labels.label_file",
    "LabelledModel": "universality.labels.concept_search",
    "Labels": "universality.labels.label_file",
    "LiteratureComparison": "universality.labels.literature",
    "LiteratureSettings": "universality.labels.concept_search",
    "LocalModel": "universality.labels.local_model",
    "Message": "universality.labels.chat",
    "Predictions": "universality.labels.predictions",
    "Prompt": "universality.labels.chat",
    "PublishedLabel": "universality.labels.published",
    "PublishedLabels": "universality.labels.published",
    "Score": "universality.labels.scoring",
    "ScoringPrompt": "universality.labels.predictions",
    "SecondSeed": "universality.labels.transfer_trials",
    "SplitGain": "universality.labels.split_explanations",
    "SpecificitySettings": "universality.labels.sampled_firings",
    "Tally": "universality.labels.asking",
    "TokenCount": "universality.labels.token_counts",
    "TokenPrices": "universality.labels.chat",
    "TokenText": "universality.labels.excerpt_text",
    "TransferSettings": "universality.labels.transfer_trials",
    "ask": "universality.labels.asking",
    "attach": "universality.labels.published",
    "check_contexts": "universality.labels.token_counts",
    "check_halves": "universality.labels.feature_examples",
    "compare_literature": "universality.labels.literature",
    "estimate": "universality.labels.asking",
    "expected_tokens": "universality.labels.token_counts",
    "explanation_prompts": "universality.labels.explaining",
    "find_examples": "universality.labels.feature_examples",
    "explanation_scores": "universality.labels.split_explanations",
    "label": "universality.labels.labelling",
    "measure_specificity": "universality.labels.explanation_specificity",
    "measure_transfer": "universality.labels.transfer",
    "prompt_key": "universality.labels.answer_cache",
    "published_concepts": "universality.labels.concept_lists",
    "read_concepts": "universality.labels.concept_lists",
    "read_reported": "universality.labels.reported",
    "read_delphi": "universality.labels.delphi_labels",
    "read_labels": "universality.labels.label_file",
    "read_neuronpedia": "universality.labels.neuronpedia_labels",
    "read_predictions": "universality.labels.predictions",
    "score": "universality.labels.scoring",
    "scoring_prompts": "universality.labels.predictions",
    "split_gain": "universality.labels.split_explanations",
    "summarise": "universality.labels.summary",
    "write_delphi": "universality.labels.delphi_labels",
    "write_neuronpedia": "universality.labels.neuronpedia_labels",
}
__all__ = [
    "CONCEPTS",
    "Answer",
    "AnswerCache",
    "AttachedLabels",
    "ChatModel",
    "Concept",
    "ConceptResult",
    "Embed",
    "Endpoint",
    "Estimate",
    "FeatureExamples",
    "FeatureLabel",
    "LabelSettings",
    "LabelSpecificity",
    "LabelTransfer",
    "LabelWriter",
    "LabelledModel",
    "Labels",
    "LiteratureComparison",
    "LiteratureSettings",
    "LocalModel",
    "Message",
    "Predictions",
    "Prompt",
    "PublishedLabel",
    "PublishedLabels",
    "Score",
    "ScoringPrompt",
    "SecondSeed",
    "SpecificitySettings",
    "SplitGain",
    "Tally",
    "TokenCount",
    "TokenPrices",
    "TokenText",
    "TransferSettings",
    "ask",
    "attach",
    "check_contexts",
    "check_halves",
    "compare_literature",
    "estimate",
    "expected_tokens",
    "explanation_prompts",
    "explanation_scores",
    "find_examples",
    "label",
    "measure_specificity",
    "measure_transfer",
    "prompt_key",
    "published_concepts",
    "read_concepts",
    "read_delphi",
    "read_labels",
    "read_neuronpedia",
    "read_predictions",
    "read_reported",
    "score",
    "scoring_prompts",
    "split_gain",
    "summarise",
    "write_delphi",
    "write_neuronpedia",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)
