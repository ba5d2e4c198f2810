"""Errors that this package raises, in six classes that a caller may want to tell apart.

Each is also a ``ValueError``. The message says what was expected, what was found, where, and what to do.
"""


class UniversalityError(ValueError):
    """Base of every error that this package raises on purpose."""


class ConfigError(UniversalityError):
    """A configuration names an unknown key, or a setting has a value that cannot work."""


class CorpusError(UniversalityError):
    """Text, tokens or a tokenizer cannot be used."""


class ModelError(UniversalityError):
    """A language model or an SAE cannot be built, loaded or hooked as requested."""


class FormatError(UniversalityError):
    """A file is truncated, corrupt, of another format or version, or its contents contradict each other."""


class MismatchError(UniversalityError):
    """Two artifacts do not belong together: they differ in tokens, model or width."""


class FewTokenTypesError(MismatchError):
    """Two vocabularies have too few token types in common for their logit weights to be compared."""


class CommonStartWarning(UserWarning):
    """Two dictionaries agree index by index, as only those that began from the same weights do."""


class DeviceWarning(UserWarning):
    """A card, or the kernels for it, cannot be used as asked, and something slower computes instead."""


class MissingExtraError(UniversalityError, ImportError):
    """A feature needs a library that a plain installation leaves out; the message has the command to install it."""
