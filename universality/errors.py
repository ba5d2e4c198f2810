"""What can go wrong, in the five ways that a caller may want to tell apart.

Each is also a ``ValueError``, so scripts that catch that keep working. The text says what was
expected, what was found, where, and what to do about it.
"""


class UniversalityError(ValueError):
    """Base of every error that this package raises on purpose."""


class ConfigError(UniversalityError):
    """A configuration names an unknown key or holds a value that cannot work."""


class CorpusError(UniversalityError):
    """Text, tokens or a tokenizer are not what they should be."""


class ModelError(UniversalityError):
    """A language model or an SAE cannot be built, loaded or hooked as asked."""


class FormatError(UniversalityError):
    """A file is torn, foreign, of another version, or its contents contradict themselves."""


class MismatchError(UniversalityError):
    """Two artifacts do not belong together: other tokens, another model, another width."""
