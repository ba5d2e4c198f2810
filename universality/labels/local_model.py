"""A ``transformers`` causal language model in this process that answers prompts.

Prompts of similar length are answered together, and the messages that they have in common are read once. Draws depend
on the seed and the prompt alone: an answer does not depend on the prompts beside it, except where rounding decides
between two tokens that are nearly equally probable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from universality.extras import naming_extra

with naming_extra("a language model"):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from universality.errors import ConfigError, ModelError
from universality.hub import fetch_files, repository
from universality.labels.answer_cache import prompt_key
from universality.labels.attention_cache import Prefix, compute_prefix, is_attention_only
from universality.labels.batch_decoding import BatchDecoder, PromptTokens
from universality.labels.chat import Answer, Message, Prompt
from universality.models.config_check import FORMAT, first_line, read_config
from universality.models.quiet_loading import quiet_unless_watched
from universality.models.shipped import model_folder
from universality.models.weight_coverage import CoveringLoader

_FILES = ("*.json", "*.jinja", "*.safetensors")  # never pickles, never code
_AHEAD = 256
"""Prompts that are drawn and sorted by length at a time."""
_TURNS = ("\n\nUser:", "\n\nAssistant:")  # of a plain conversation, see `_plain`
_TURN_TOKENS = 12  # tokens in which such a turn is looked for, if each letter is a token of its own
_LEAST_SHARED = 32
"""Tokens that prompts must have in common for their keys and values to be copied instead of computed again."""


class LocalModel:
    """A causal language model of ``transformers`` on this machine.

    Parameters
    ----------
    source
        Folder of a model with its tokenizer, weights in safetensors files; or ``owner/name@revision`` on the hub,
        read from the local cache or downloaded.
    name
        Name of the model; the source by default.
    temperature
        0 takes the most probable token; otherwise logits are divided by it before a token is drawn.
    seed
        Seed of the draws.
    device
        Such as ``"cuda"`` or ``"cpu"``; the GPU if there is one by default.
    dtype
        Type of the weights in memory, such as ``"bfloat16"``; that of the files by default.
    batch_tokens
        Most tokens that are in memory at a time, prompts and answers together.

    Attributes
    ----------
    context : int or None
        Most tokens of a prompt and its answer together, as the model's configuration gives it.

    Raises
    ------
    ConfigError
        If an option is out of its range.
    ModelError
        If the model or its tokenizer is missing or cannot be loaded.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        name: str | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        if not temperature >= 0 or batch_tokens < 1:
            raise ConfigError(
                f"expected a temperature of at least 0 and batch_tokens of at least 1, found {temperature} and "
                f"{batch_tokens}"
            )
        folder = _folder(source)
        self.name = name or str(source)
        self._temperature, self._seed, self._batch_tokens = temperature, seed, batch_tokens
        self._tokenizer = _load_tokenizer(folder)
        self._model = _load(folder, dtype).to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self._files = _digest(folder)
        self._ends = _end_tokens(self._model, self._tokenizer)
        self._decoder = BatchDecoder(self._model, self._is_end, min(self._ends, default=0), temperature)
        self.context: int | None = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but name and prompt that decides an answer; ``files`` is the SHA-256 of the model's files."""
        sampled = {"temperature": self._temperature, "seed": self._seed} if self._temperature else {"temperature": 0.0}
        return {**sampled, "dtype": str(self._model.dtype).removeprefix("torch."), "files": self._files}

    def count_tokens(self, prompt: Prompt) -> int:
        """Return the number of tokens of a prompt, chat template included."""
        return len(self._encode(prompt))

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        """Answer prompts, as `universality.labels.ChatModel` describes.

        Yields
        ------
        index, answer
            Of 256 prompts that are drawn at a time, those that begin alike together, shorter ones first. A prompt that
            does not fit into the model's context, or into the memory of the GPU, yields an answer of outcome
            ``"failed"``.
        """
        numbered = enumerate(prompts)
        while window := list(islice(numbered, _AHEAD)):
            encoded = [_Encoded(index, prompt, self._encode(prompt)) for index, prompt in window]
            fitting = [one for one in encoded if self._fits(one)]
            yield from ((one.index, self._too_long(one)) for one in encoded if not self._fits(one))
            for group in _groups(fitting):
                prefix = self._prefix(group)
                for batch in _batches(group, self._batch_tokens):
                    yield from self._answer(batch, prefix)

    def _encode(self, prompt: Prompt) -> list[int]:
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        if self._tokenizer.chat_template is None:
            return list(self._tokenizer(_plain(messages)).input_ids)
        text = self._render(messages)
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)  # the template writes them itself

    def _render(self, messages: list[dict[str, str]]) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        except Exception as error:  # jinja's: many templates raise on a system message
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise ModelError(f"{self.name}: its chat template refuses the prompt: {first_line(error)}") from None
        system, first, *rest = messages
        return self._render([first | {"content": f"{system['content']}\n\n{first['content']}"}, *rest])

    def _fits(self, one: _Encoded) -> bool:
        return self.context is None or one.size <= self.context

    def _too_long(self, one: _Encoded) -> Answer:
        return Answer(
            "",
            "failed",
            problem=f"expected at most {self.context} tokens, the context of the model; found {len(one.tokens)} of the "
            f"prompt and {one.prompt.max_tokens} for the answer",
        )

    def _answer(self, batch: Sequence[_Encoded], prefix: Prefix) -> Iterator[tuple[int, Answer]]:
        try:
            written = self._decode(batch, prefix)
        except torch.cuda.OutOfMemoryError:
            written = None  # outside of the handler, which holds on to the tensors of the failed pass
        if written is not None:
            yield from ((one.index, self._read(one, row)) for one, row in zip(batch, written, strict=True))
        elif len(batch) == 1:
            problem = f"the GPU has no memory for a prompt of {len(batch[0].tokens)} tokens"
            yield batch[0].index, Answer("", "failed", problem=problem)
        else:
            torch.cuda.empty_cache()
            yield from self._answer(batch[: len(batch) // 2], prefix)
            yield from self._answer(batch[len(batch) // 2 :], prefix)

    def _decode(self, batch: Sequence[_Encoded], prefix: Prefix) -> list[list[int]]:
        rows = [PromptTokens(one.tokens, one.prompt.max_tokens, self._noise_seed(one.prompt)) for one in batch]
        return self._decoder.decode(rows, prefix)

    def _prefix(self, group: Sequence[_Encoded]) -> Prefix:
        """Compute what the prompts of a group have in common, where that is worth it and the model allows it."""
        tokens = _common([one.tokens[:-1] for one in group])
        if len(group) < 2 or len(tokens) < _LEAST_SHARED or not is_attention_only(self._model):
            return Prefix()
        try:
            return compute_prefix(self._model, tokens)
        except torch.cuda.OutOfMemoryError:
            return Prefix()

    def _is_end(self, written: list[int]) -> bool:
        """Say whether the last token ends an answer: an end token, or the next turn of a plain conversation."""
        if written[-1] in self._ends:
            return True
        return self._tokenizer.chat_template is None and _next_turn(self._decoded(written[-_TURN_TOKENS:])) >= 0

    def _read(self, one: _Encoded, written: list[int]) -> Answer:
        is_end = self._is_end(written)
        text = self._decoded(written[:-1] if written[-1] in self._ends else written)
        if self._tokenizer.chat_template is None and (start := _next_turn(text)) >= 0:
            text = text[:start]
        if is_end:
            return Answer(text, "answered", len(one.tokens), len(written))
        return Answer(text, "cut off", len(one.tokens), len(written), "reached the largest number of tokens")

    def _decoded(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def _noise_seed(self, prompt: Prompt) -> int:
        key = prompt_key(self, prompt)  # settings hold the seed
        return int(key[:15], 16)


@dataclass(frozen=True)
class _Encoded:
    index: int
    prompt: Prompt
    tokens: list[int]

    @property
    def size(self) -> int:
        return len(self.tokens) + self.prompt.max_tokens


def _groups(encoded: Iterable[_Encoded]) -> Iterable[list[_Encoded]]:
    """Group prompts that differ in their last message only: they have instructions and worked examples in common."""
    groups: dict[tuple[Message, ...], list[_Encoded]] = {}
    for one in encoded:
        groups.setdefault(one.prompt.messages[:-1], []).append(one)
    return groups.values()


def _common(rows: Sequence[list[int]]) -> list[int]:
    """Longest beginning that all rows have; what the first and the last in order share, all between them share."""
    first, last = min(rows), max(rows)
    n = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:n]


def _batches(encoded: Sequence[_Encoded], batch_tokens: int) -> Iterator[list[_Encoded]]:
    """Group prompts of similar length; padded to the longest, with its answer, a batch holds ``batch_tokens``."""
    batch: list[_Encoded] = []
    for one in sorted(encoded, key=lambda one: (one.prompt.max_tokens, len(one.tokens))):
        if batch and one.size * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _plain(messages: Sequence[dict[str, str]]) -> str:
    """Lay a conversation out for a model without a chat template, which continues texts."""
    lines = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    return "\n\n".join([*lines, "Assistant:"])


def _next_turn(text: str) -> int:
    """Place at which a model that continues texts begins another turn; -1 for none."""
    return min((place for turn in _TURNS if (place := text.find(turn)) >= 0), default=-1)


def _folder(source: str | Path) -> Path:
    repo = repository(source)
    folder = fetch_files(repo, _FILES) if repo else model_folder(source)
    if read_config(folder).get("format") == FORMAT:
        raise ModelError(
            f"{source}: a model that was trained here, which only continues its own kind of text; give a model of "
            "transformers that can follow instructions"
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{source}: expected weights in safetensors files, found none; save the model with transformers "
            "(save_pretrained), or take a repository that has them"
        )
    return folder


def _load_tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many types
        raise ModelError(
            f"{folder}: no tokenizer that transformers can read ({first_line(error)}); put the model's tokenizer.json "
            "and tokenizer_config.json there"
        ) from None


def _load(folder: Path, dtype: str | None) -> Any:
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(str(folder), **options)
        architecture = ", ".join(config.architectures or ()) or config.model_type
        loader = CoveringLoader(AutoModelForCausalLM, folder, architecture)
        with quiet_unless_watched():
            return loader.from_pretrained(str(folder), dtype=dtype or "auto", use_safetensors=True, **options)
    except ModelError:
        raise
    except Exception as error:  # transformers raises many types
        raise ModelError(
            f"{folder}: transformers cannot load it as a causal language model: {first_line(error)}"
        ) from error


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end an answer: many models of chats have one for a turn beside that for a text."""
    own = model.generation_config.eos_token_id
    named = own if isinstance(own, list) else [own]
    return {int(token) for token in (*named, tokenizer.eos_token_id) if token is not None}


def _digest(folder: Path) -> str:
    """Return the SHA-256 of the names and bytes of the model's files; reads about 1 GB a second."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _FILES for path in folder.glob(pattern)):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()
