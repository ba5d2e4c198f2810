"""Explanations of features by a language model, and scores of the explanations.

An explainer reads examples of a feature's firings and writes what it responds to; a scorer is given the explanation
alone and predicts the firings in other text. Scores stand beside floors, which tell what a score is worth.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.labels.chat import Answer, ChatModel, Message, Prompt, TokenPrices

_HOME = {
    "Answer": "universality.labels.chat",
    "ChatModel": "universality.labels.chat",
    "Message": "universality.labels.chat",
    "Prompt": "universality.labels.chat",
    "TokenPrices": "universality.labels.chat",
}
__all__ = ["Answer", "ChatModel", "Message", "Prompt", "TokenPrices"]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)
