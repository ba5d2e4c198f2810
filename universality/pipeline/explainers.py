"""Language models that explain and score features, from the options of the command line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from universality.errors import ConfigError
from universality.files import as_path
from universality.labels.chat import ChatModel, TokenPrices
from universality.labels.concept_search import Embed
from universality.labels.endpoint import OPENAI, Endpoint
from universality.labels.label_settings import LabelSettings
from universality.pipeline.label_run import PricedModel
from universality.unique_yaml import load_yaml

_NO_TEMPERATURE = "none"


@dataclass(frozen=True)
class ModelOptions:
    """Options that name a language model: one behind a server, or one that runs in this process.

    Parameters
    ----------
    model, url, key_from
        Name of the model, address of the server up to ``/v1``, and name of the environment variable with the key.
    local
        Folder or hub name of a model of ``transformers`` that runs in this process instead.
    price_in, price_out
        Prices of a million tokens read, and written; both or none.
    temperature
        Number, or ``"none"`` for models that refuse the setting.
    options
        ``KEY=VALUE`` fields of each request, with YAML values.
    at_once, timeout, allow_http
        See `universality.labels.Endpoint`.
    """

    model: str | None = None
    url: str | None = None
    key_from: str | None = None
    local: str | None = None
    price_in: float | None = None
    price_out: float | None = None
    temperature: str = "0"
    options: tuple[str, ...] = ()
    at_once: int = 16
    timeout: float = 120.0
    allow_http: bool = False

    @property
    def given(self) -> bool:
        """Whether a model is named."""
        return bool(self.model or self.local)

    def open(self, role: str) -> PricedModel:
        """Return the model; ``role`` names it in messages.

        Raises
        ------
        ConfigError
            If none or two are named, or an option cannot be used.
        """
        if bool(self.model) == bool(self.local):
            found = "both" if self.model else "neither"
            raise ConfigError(
                f"{role}: expected --model (with --url, the address of a server) or --local (a model in this process), "
                f"found {found}"
            )
        return PricedModel(self._local() if self.local else self._endpoint(self.model or ""), self._prices(role))

    def embedding(self, name: str | None, url: str | None) -> Embed | None:
        """Return what asks a server for embeddings by a model, the scorer's by default; None where no model is named.

        Raises
        ------
        ConfigError
            If an option cannot be used.
        """
        if name is None:
            if url is not None:
                raise ConfigError("--embed-url: give --embed-model, the name of a model of that server")
            return None
        if self.local and url is None:
            raise ConfigError("--embed-model: give --embed-url, the address of its server: the scorer has none")
        return self._endpoint(name, url).embed

    def _endpoint(self, name: str, url: str | None = None) -> Endpoint:
        return Endpoint(
            name,
            url or self.url or OPENAI,
            temperature=self._temperature(),
            options=_fields(self.options),
            at_once=self.at_once,
            timeout=self.timeout,
            key_variable=self.key_from or "OPENAI_API_KEY",
            allow_http=self.allow_http,
        )

    def _local(self) -> ChatModel:
        from universality.labels.local_model import LocalModel

        if self.url or self.key_from or self.options:
            raise ConfigError("--local runs a model in this process: --url, --key-from and --option are of servers")
        return LocalModel(self.local or "", temperature=self._temperature() or 0.0)

    def _temperature(self) -> float | None:
        if self.temperature.strip().lower() == _NO_TEMPERATURE:
            return None
        try:
            value = float(self.temperature)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise ConfigError(f"--temperature: expected a number of at least 0, or none, found {self.temperature!r}")
        return value

    def _prices(self, role: str) -> TokenPrices | None:
        prices = self.price_in, self.price_out
        if any(price is not None and not 0 <= price < math.inf for price in prices):
            raise ConfigError(f"{role}: expected prices of at least 0, found {self.price_in} and {self.price_out}")
        if self.price_in is None or self.price_out is None:
            if prices != (None, None):
                raise ConfigError(f"{role}: give both prices, of a million tokens read and of a million written")
            return None
        return TokenPrices(self.price_in, self.price_out)


def _fields(options: Iterable[str]) -> dict[str, Any]:
    return dict(_pair("--option", option) for option in options)


def _pair(name: str, option: str) -> tuple[str, Any]:
    key, equals, text = option.partition("=")
    if not equals or not key:
        raise ConfigError(f"{name} {option}: expected KEY=VALUE")
    try:
        return key, load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} {option}: {text!r} is not a YAML value: {error}") from None


def read_label_settings(file: Path | None, overrides: Iterable[str] = ()) -> LabelSettings:
    """Read settings from a YAML file of keys of `LabelSettings`, and lay ``KEY=VALUE`` over them, each key once.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown (the message names the nearest one) or given twice, or a value is
        out of range.
    """
    values: dict[str, Any] = {}
    if file is not None:
        values = dict(_read_yaml(as_path(file)))
    pairs = [_pair("--set", override) for override in overrides]
    repeated = [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]
    if repeated:
        raise ConfigError(f"settings of labels: {repeated[0]} is given more than once, by --set or an option")
    values.update(pairs)
    known = [setting.name for setting in fields(LabelSettings)]
    for key in values:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            advice = f"; did you mean {near[0]}?" if near else f"; expected some of {', '.join(known)}"
            raise ConfigError(f"settings of labels: unknown key {key}{advice}")
    return LabelSettings(**values)


def _read_yaml(file: Path) -> Mapping[str, Any]:
    try:
        values = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        found = "an empty file" if values is None else type(values).__name__
        raise ConfigError(f"{file}: expected settings, one KEY: VALUE a line, found {found}")
    return values
