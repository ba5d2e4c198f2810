"""Language models of a study: a TransformerLens bridge with a name and a hash; saving and loading.

A saved model is a folder with ``config.json`` (the arguments of ``TransformerBridgeConfig``) and
``model.safetensors`` (the state of TransformerLens's ``NativeModel``). It reloads without this package:

    config = json.load(open("config.json"))
    cfg = TransformerBridgeConfig(**config["architecture"]); cfg.d_mlp = config["d_mlp"]
    model = NativeModel(cfg); model.load_state_dict(safetensors.torch.load_file("model.safetensors"))
"""

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from universality.extras import naming_extra

with naming_extra("a language model"):
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save
    from torch import Tensor
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

from universality.devices import AUTO, choose_device
from universality.errors import ModelError
from universality.files import as_path, write_bytes
from universality.hub import commit_of, repository
from universality.models.config_check import FORMAT, check_architecture, first_line, read_config
from universality.models.model_settings import ModelArchitecture
from universality.models.quiet_loading import quiet_unless_watched
from universality.models.shipped import model_folder
from universality.models.weight_coverage import CoveringLoader
from universality.models.weights_hash import weights_hash

_VERSION = 1
_WRAPPER = "._original_component"  # inserted by the bridge into names of wrapped modules


@dataclass(frozen=True)
class LanguageModel:
    """A TransformerLens bridge with its name and metadata.

    Attributes
    ----------
    bridge : TransformerBridge
    name : str
        Name of the model in this study.
    metadata : dict
        Seeds, training settings and losses, as far as recorded.
    """

    bridge: TransformerBridge
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """Return the sha256 of names and float32 values of the weights."""
        return weights_hash(weights(self.bridge))

    @property
    def device(self) -> torch.device:
        """Device that holds the weights."""
        return next(self.bridge.original_model.parameters()).device

    @property
    def n_ctx(self) -> int:
        """Longest block that the model reads, in tokens."""
        return int(self.bridge.cfg.n_ctx)

    @property
    def d_vocab(self) -> int:
        """Number of rows of the embedding."""
        return int(self.bridge.cfg.d_vocab)


def wrap_model(model: Any, tokenizer: Any, name: str) -> LanguageModel:
    """Wrap a Hugging Face causal language model that is in memory, for example just fine-tuned or quantised.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Model of an architecture that TransformerLens supports. It is wrapped in place and set to ``eval``; from then
        on attention runs without fused kernels, so that hooks see all of it.
    tokenizer : transformers.PreTrainedTokenizerBase
        Tokenizer of the model; without one, TransformerLens would search the hub. For
        `universality.corpus.build_corpus`, convert it with `universality.corpus.wrap_tokenizer`.
    name
        Name of the model in this study.

    Raises
    ------
    ModelError
        If TransformerLens cannot wrap it.
    """
    source = str(getattr(getattr(model, "config", None), "name_or_path", "") or name)
    try:
        with quiet_unless_watched(), redirect_stdout(io.StringIO()), TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)  # TransformerLens reloads it from its name_or_path
            bridge = TransformerBridge.boot_transformers(
                source,
                hf_model=model,
                tokenizer=type(tokenizer).from_pretrained(folder),
                dtype=model.dtype,
                device=model.device,
            )
    except Exception as error:  # transformers and TransformerLens raise many types
        raise ModelError(
            f"{name}: TransformerLens cannot wrap this {type(model).__name__}: {first_line(error)}"
        ) from error
    _check_that_it_runs(bridge, name, type(model).__name__)
    return LanguageModel(bridge.eval(), name, {"source": source, "in_memory": True})


def weights(bridge: TransformerBridge) -> dict[str, Tensor]:
    """Return the parameters under the names of the wrapped model."""
    return {unwrapped_name(name): value for name, value in bridge.original_model.named_parameters()}


def unwrapped_name(name: str) -> str:
    """Return a parameter's name in the wrapped model, without what a bridge inserts."""
    return name.replace(_WRAPPER, "")


def new_model(architecture: ModelArchitecture, *, d_vocab: int, n_ctx: int, init_seed: int, name: str) -> LanguageModel:
    """Create a randomly initialised model; equal seeds give equal weights.

    Parameters
    ----------
    architecture
        Numbers of layers, heads and dimensions.
    d_vocab, n_ctx
        Vocabulary size and context length of the token blocks that the model will read.
    init_seed
        Seed for the initial weights.
    name
        Name of the model in this study.

    Raises
    ------
    ModelError
        If ``d_model`` is not a multiple of ``n_heads``.
    """
    if architecture.d_model % architecture.n_heads:
        raise ModelError(
            f"d_model {architecture.d_model} must be a multiple of n_heads {architecture.n_heads}; change either"
        )
    config = {
        "n_layers": architecture.n_layers,
        "d_model": architecture.d_model,
        "n_heads": architecture.n_heads,
        "d_head": architecture.d_model // architecture.n_heads,
        "n_ctx": n_ctx,
        "d_vocab": d_vocab,
        "act_fn": architecture.act_fn,
        "seed": init_seed,
    }
    return LanguageModel(_boot(config, architecture.d_mlp), name, {"architecture": config, "d_mlp": architecture.d_mlp})


def move_model(model: LanguageModel, device: str = AUTO) -> LanguageModel:
    """Move the model to a device, as `universality.devices.choose_device` names them, and return it."""
    chosen = choose_device(device)
    if model.device.type != chosen.type or model.device.index != chosen.index:
        with redirect_stdout(io.StringIO()):
            model.bridge.to(chosen)
    return model


def _boot(config: dict[str, Any], d_mlp: int) -> TransformerBridge:
    bridge_config = TransformerBridgeConfig(**config)
    bridge_config.d_mlp = d_mlp
    with redirect_stdout(io.StringIO()):  # it prints "Moving model to device"
        return TransformerBridge.boot_native(bridge_config)  # type: ignore[attr-defined]


def save_model(model: LanguageModel, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write ``model.safetensors`` in ``dtype``, then ``config.json``, which marks the folder as complete."""
    folder = as_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().to("cpu", dtype).contiguous() for name, value in weights(model.bridge).items()}
    write_bytes(folder / "model.safetensors", save(state))  # save_file would ignore the umask and make the file private
    config = {"format": FORMAT, "version": _VERSION, **model.metadata}
    write_bytes(folder / "config.json", (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())


def load_model(source: str | Path, name: str | None = None) -> LanguageModel:
    """Load a model saved by this package, a shipped model, or a Hugging Face model from a folder or the hub.

    Parameters
    ----------
    source
        A folder that `save_model` wrote; ``"starter/seed0"`` … for the shipped models; a folder with a causal language
        model that ``transformers`` can read; or ``owner/name@revision`` on the hub, which is read from the local cache
        or downloaded.
    name
        Name of the model in this study; the folder's name by default.

    Raises
    ------
    ModelError
        If the folder is missing, incomplete, or holds anything else.
    """
    folder = model_folder(source)
    config = read_config(folder)
    if config.get("format") == FORMAT:
        return _load_own(folder, config, name or folder.name)
    return _load_hugging_face(folder, source, name or str(source).rsplit("/", 1)[-1])


def _load_own(folder: Path, config: dict[str, Any], name: str) -> LanguageModel:
    if config.get("version") != _VERSION:
        raise ModelError(f"{folder}: expected version {_VERSION} of {FORMAT}, found {config.get('version')!r}")
    try:
        state = load_file(folder / "model.safetensors")
        bridge = _boot(config["architecture"], config["d_mlp"])
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}: not a complete model: {error}") from None
    target = weights(bridge)
    stored, expected = ({n: tuple(v.shape) for n, v in tensors.items()} for tensors in (state, target))
    if wrong := sorted(set(stored.items()) ^ set(expected.items())):
        raise ModelError(
            f"{folder}: model.safetensors does not fit the architecture in config.json, first at {wrong[0]}"
        )
    with torch.no_grad():
        for key, value in target.items():
            value.copy_(state[key].to(value.dtype))
    metadata = {key: value for key, value in config.items() if key not in ("format", "version")}
    return LanguageModel(bridge.eval(), name, metadata)


def _load_hugging_face(folder: Path, source: str | Path, name: str) -> LanguageModel:
    from transformer_lens.model_bridge.sources.transformers import get_hf_model_class_for_architecture

    architecture = check_architecture(folder)
    assert architecture is not None
    loader = CoveringLoader(get_hf_model_class_for_architecture(architecture), folder, architecture)
    try:
        with quiet_unless_watched():
            bridge = TransformerBridge.boot_transformers(str(folder), dtype=torch.float32, model_class=loader)
    except ModelError:
        raise
    except Exception as error:  # transformers raises many types
        if "tokenizer" in str(error) and not any(folder.glob("tokenizer*")):
            raise ModelError(
                f"{folder}: a model without its tokenizer, and TransformerLens reads one beside this type of model; "
                "put the tokenizer.json and tokenizer_config.json of the model there (transformers: "
                "tokenizer.save_pretrained(folder))"
            ) from None
        if isinstance(error, OSError | SafetensorError):
            raise ModelError(
                f"{folder}: the weights cannot be read ({first_line(error)}): a file is missing or truncated; copy "
                "it again"
            ) from error
        raise ModelError(_no_model(folder, architecture, "load", error)) from error
    _check_that_it_runs(bridge, str(folder), architecture)
    repo = repository(source)
    version_on_hub = {"revision": repo.revision, "commit": commit_of(folder)} if repo else {}
    return LanguageModel(bridge.eval(), name, {"source": repo.name if repo else folder.name, **version_on_hub})


def _check_that_it_runs(bridge: TransformerBridge, where: str, architecture: str) -> None:
    """Refuse a model whose forward pass fails, or in which a token changes the logits before it.

    Raises
    ------
    ModelError
        If the pass fails, logits are not finite, or a token changes logits before it.
    """
    bridge.eval()
    config: Any = bridge.original_model.config
    config.use_cache = False  # caches of past keys fail in models without attention layers
    # Two texts that differ in the last token only: in a causal model all logits before it are equal.
    tokens = torch.arange(1, 6).repeat(2, 1) % int(bridge.cfg.d_vocab)
    tokens[1, -1] = 0
    weight = next(iter(weights(bridge).values()))
    try:
        with torch.no_grad():
            logits = bridge.run_with_hooks(tokens.to(weight.device), fwd_hooks=[], return_type="logits")[:, :-1].float()
    except Exception as error:  # of TransformerLens or of the model's own code
        raise ModelError(_no_model(where, architecture, "run", error)) from error
    if not torch.isfinite(logits).all():
        raise ModelError(f"{where}: the logits of this {architecture} are not finite; its weights are damaged")
    change = (logits[1] - logits[0]).abs().max().item()
    rounding = 1e-4 if weight.dtype == torch.float32 else 1e-2  # relative; kernels may treat the two rows differently
    if change > rounding * logits.std().item():
        raise ModelError(
            f"{where}: expected a causal language model; in this {architecture} a token changes the logits before it "
            f"(by {change:.2g}), so it reads ahead. Give a model that reads from left to right"
        )


def _no_model(where: str | Path, architecture: str, verb: str, error: Exception) -> str:
    return (
        f"{where}: TransformerLens {version('transformer-lens')} cannot {verb} this {architecture} ({first_line(error)}"
        "); try the model with transformers alone, then another version of TransformerLens, or give another model"
    )
