"""Explanations of features by a language model, and scores of the explanations.

An explainer reads examples of a feature's firings and writes what it responds to; a scorer is given the explanation
alone and predicts the firings in other text. Scores stand beside floors, which tell what a score is worth.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.labels.answer_cache import AnswerCache, prompt_key
    from universality.labels.asking import Estimate, Tally, ask, count_tokens, estimate
    from universality.labels.chat import Answer, ChatModel, Message, Prompt, TokenPrices
    from universality.labels.endpoint import Endpoint
    from universality.labels.local_model import LocalModel

_HOME = {
    "Answer": "universality.labels.chat",
    "AnswerCache": "universality.labels.answer_cache",
    "ChatModel": "universality.labels.chat",
    "Endpoint": "universality.labels.endpoint",
    "Estimate": "universality.labels.asking",
    "LocalModel": "universality.labels.local_model",
    "Message": "universality.labels.chat",
    "Prompt": "universality.labels.chat",
    "Tally": "universality.labels.asking",
    "TokenPrices": "universality.labels.chat",
    "ask": "universality.labels.asking",
    "count_tokens": "universality.labels.asking",
    "estimate": "universality.labels.asking",
    "prompt_key": "universality.labels.answer_cache",
}
__all__ = [
    "Answer",
    "AnswerCache",
    "ChatModel",
    "Endpoint",
    "Estimate",
    "LocalModel",
    "Message",
    "Prompt",
    "Tally",
    "TokenPrices",
    "ask",
    "count_tokens",
    "estimate",
    "prompt_key",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)
