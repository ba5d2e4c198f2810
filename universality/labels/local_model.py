"""A ``transformers`` causal language model in this process that answers prompts.

Prompts of similar length are answered together. Tokens are drawn by the Gumbel-max trick, with noise that depends on
the seed and the prompt alone: an answer does not depend on the prompts beside it, except where rounding decides between
two tokens that are nearly equally probable.
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
    from torch import Tensor
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LogitsProcessor

from universality.errors import ConfigError, ModelError
from universality.hub import fetch_files, repository
from universality.labels.answer_cache import prompt_key
from universality.labels.chat import Answer, Prompt
from universality.models.config_check import FORMAT, first_line, read_config
from universality.models.quiet_loading import quiet_unless_watched
from universality.models.shipped import model_folder
from universality.models.weight_coverage import CoveringLoader

_FILES = ("*.json", "*.jinja", "*.safetensors")  # never pickles, never code
_AHEAD = 256
"""Prompts that are drawn and sorted by length at a time."""


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
        self._padding = min(self._ends, default=0)  # masked, so any token will do
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
            Shorter prompts first among 256 that are drawn at a time. A prompt that does not fit into the model's
            context, or into the memory of the GPU, yields an answer of outcome ``"failed"``.
        """
        numbered = enumerate(prompts)
        while window := list(islice(numbered, _AHEAD)):
            encoded = [_Encoded(index, prompt, self._encode(prompt)) for index, prompt in window]
            fitting = [one for one in encoded if self._fits(one)]
            yield from ((one.index, self._too_long(one)) for one in encoded if not self._fits(one))
            for batch in _batches(fitting, self._batch_tokens):
                yield from self._answer(batch)

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

    def _answer(self, batch: Sequence[_Encoded]) -> Iterator[tuple[int, Answer]]:
        try:
            written = self._generate(batch)
        except torch.cuda.OutOfMemoryError:
            written = None  # outside of the handler, which holds on to the tensors of the failed pass
        if written is not None:
            yield from ((one.index, self._read(one, row)) for one, row in zip(batch, written, strict=True))
        elif len(batch) == 1:
            problem = f"the GPU has no memory for a prompt of {len(batch[0].tokens)} tokens"
            yield batch[0].index, Answer("", "failed", problem=problem)
        else:
            torch.cuda.empty_cache()
            yield from self._answer(batch[: len(batch) // 2])
            yield from self._answer(batch[len(batch) // 2 :])

    @torch.inference_mode()
    def _generate(self, batch: Sequence[_Encoded]) -> list[list[int]]:
        longest = max(len(one.tokens) for one in batch)
        tokens = torch.tensor([[self._padding] * (longest - len(one.tokens)) + one.tokens for one in batch])
        mask = torch.tensor([[0] * (longest - len(one.tokens)) + [1] * len(one.tokens) for one in batch])
        noise = (
            [_Noise([self._noise_seed(one.prompt) for one in batch], self._temperature)] if self._temperature else []
        )
        written = self._model.generate(
            input_ids=tokens.to(self._model.device),
            attention_mask=mask.to(self._model.device),
            generation_config=self._generation(max(one.prompt.max_tokens for one in batch)),
            logits_processor=noise,
        )
        return [row[longest:].tolist() for row in written]

    def _generation(self, max_tokens: int) -> GenerationConfig:
        # The model's own file may ask for sampling, penalties or beams; the settings here say all that is done.
        self._model.generation_config = GenerationConfig(
            max_new_tokens=max_tokens, do_sample=False, eos_token_id=sorted(self._ends), pad_token_id=self._padding
        )
        return self._model.generation_config

    def _read(self, one: _Encoded, row: list[int]) -> Answer:
        row = row[: one.prompt.max_tokens]  # the batch wrote as many as its most demanding prompt
        end = next((place for place, token in enumerate(row) if token in self._ends), None)
        text = str(self._tokenizer.decode(row[:end], skip_special_tokens=True))
        if self._tokenizer.chat_template is None:  # a model that continues texts goes on with the next question
            text = text.partition("\n\nUser:")[0]
        if end is None:
            return Answer(text, "cut off", len(one.tokens), len(row), "reached the largest number of tokens")
        return Answer(text, "answered", len(one.tokens), end + 1)

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


class _Noise(LogitsProcessor):  # type: ignore[misc]
    """Add Gumbel noise to log-probabilities, so that the largest is a draw: Maddison, Tarlow & Minka 2014."""

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniform = torch.stack([torch.rand(scores.shape[1], generator=one) for one in self._generators])
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        return scores.float() / self._temperature + gumbel.to(scores.device)


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
