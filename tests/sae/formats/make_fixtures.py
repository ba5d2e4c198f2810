"""Write small SAEs with the libraries whose formats we read, and what each of them encodes of the same activations.

    python make_fixtures.py TOOL

in an environment of the tool's own, where TOOL and its packages are

- ``saelens``: sae-lens 6.54.12
- ``saelens_layouts``: sae-lens 6.54.12. Layouts of others that SAELens reads, laid out as published, and the codes of
  SAELens's own loaders, with its downloads replaced by the local files
- ``saelens_before_6``: sae-lens 5.11.0
- ``dictionary_learning``: dictionary-learning 0.1.0
- ``sparsify``: eai-sparsify 1.3.3
- ``llamascopium``: llamascopium 2.0.0b34
- ``circuit_tracer``: circuit-tracer 0.5.0 (``pip install --no-deps``) beside sae-lens
- ``published``: NumPy and torch alone. Gemma Scope's arrays and OpenAI's state dicts have no library on the package
  index: their files are laid out as published, and the codes are the published equations in float64.

all with torch 2.13.0. ``data/NAME/`` is what the library saves, or one file; ``data/NAME.npz`` holds the activations
``x`` [n_tokens, d_in], the library's ``codes`` [n_tokens, d_sae], for transcoders and some others its reconstructions
``out`` [n_tokens, d_out], and a ``note`` of what made them. Every weight is
random, biases, thresholds and the norms of decoder rows too, so that nothing that a reader leaves out goes unseen.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

DATA = Path(__file__).parent / "data"
D_IN, D_SAE, K, N_TOKENS = 12, 32, 5, 20
D_OUT = 10
"""Width that transcoders write, where the tool allows another than d_in."""


def activations() -> torch.Tensor:
    """The same for all, off-centre."""
    return torch.randn(N_TOKENS, D_IN, generator=torch.Generator().manual_seed(0)) * 1.5 + 0.3


def scramble(module: torch.nn.Module) -> None:
    """Random numbers in every parameter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))


def keep(name: str, codes: Any, package: str, out: Any = None) -> None:
    """The activations and what the library made of them."""
    codes = torch.as_tensor(codes).detach().float().numpy()
    assert (codes > 0).any(axis=1).all()
    assert (codes == 0).any(axis=1).all()
    version = f"{package} {importlib.metadata.version(package)}" if package else "laid out as published"
    note = f"{version}; torch {torch.__version__}"
    more = {} if out is None else {"out": torch.as_tensor(out).detach().float().numpy()}
    np.savez(DATA / f"{name}.npz", x=activations().numpy(), codes=codes, note=np.array(note), **more)


def saelens() -> None:
    """SAELens's own classes and `save_model`; the layout from before version 6 is its weights with a flat cfg.json."""
    from sae_lens import SAE
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.saes.matryoshka_batchtopk_sae import (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    )

    common = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    hook = {"model_name": "pythia-70m", "hook_name": "blocks.3.hook_resid_post", "prepend_bos": True}
    cases: dict[str, dict[str, Any]] = {
        "standard": {"architecture": "standard"},
        "standard_constant_norm": {"architecture": "standard", "normalize_activations": "constant_norm_rescale"},
        "topk": {"architecture": "topk", "k": K, "apply_b_dec_to_input": False},
        "topk_rescaled": {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": True},
        "jumprelu": {"architecture": "jumprelu", "normalize_activations": "expected_average_only_in"},
        "jumprelu_layer_norm": {"architecture": "jumprelu", "normalize_activations": "layer_norm"},
        "gated": {"architecture": "gated"},
        "hook_z": {"architecture": "standard", "reshape_activations": "hook_z"},
    }
    for name, settings in cases.items():
        metadata = hook | ({"hook_name": "blocks.3.attn.hook_z"} if name == "hook_z" else {})
        sae = SAE.from_dict({**common, **settings, "metadata": metadata})
        scramble(sae)
        sae.save_model(DATA / f"saelens_{name}")
        if name == "hook_z":  # the library takes [n_tokens, n_heads, d_head]
            codes = sae.encode(activations().reshape(N_TOKENS, 3, D_IN // 3))
            keep("saelens_hook_z", codes, "sae-lens", sae.decode(codes).reshape(N_TOKENS, D_IN))
        elif name == "gated":
            codes = sae.encode(activations())
            keep("saelens_gated", codes, "sae-lens", sae.decode(codes))
        else:
            keep(f"saelens_{name}", sae.encode(activations()), "sae-lens")
    _saelens_transcoders(common)
    for name, trained in {
        "batchtopk": BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=D_IN, d_sae=D_SAE, k=K)),
        "matryoshka": MatryoshkaBatchTopKTrainingSAE(
            MatryoshkaBatchTopKTrainingSAEConfig(d_in=D_IN, d_sae=D_SAE, k=K, matryoshka_widths=[8, 16, D_SAE])
        ),
    }.items():
        scramble(trained)
        trained.topk_threshold.fill_(0.7)
        trained.save_inference_model(DATA / f"saelens_{name}")
        sae = SAE.load_from_disk(DATA / f"saelens_{name}")
        codes = sae.encode(activations())
        keep(f"saelens_{name}", codes, "sae-lens", sae.decode(codes) if name == "matryoshka" else None)
    flat = {
        **common, "hook_point": "blocks.3.hook_resid_pre", "hook_point_layer": 3, "hook_point_head_index": None,
        "model_name": "gpt2-small", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "prepend_bos": True,
        "apply_b_dec_to_input": True, "normalize_activations": None, "context_size": 128,
        "dataset_path": "Skylion007/openwebtext", "sae_lens_training_version": "3.1.0",
    }  # fmt: skip
    sae = SAE.from_dict({**common, "architecture": "topk", "k": K, "metadata": {}})
    scramble(sae)
    folder = DATA / "saelens_before_6"
    sae.save_model(folder)
    (folder / "cfg.json").write_text(json.dumps(flat))
    keep("saelens_before_6", SAE.load_from_disk(folder).encode(activations()), "sae-lens")


def _saelens_transcoders(common: dict[str, Any]) -> None:
    from sae_lens import SAE

    metadata = {"hook_name": "blocks.3.mlp.hook_in", "hook_name_out": "blocks.3.hook_mlp_out"}
    for name, settings in {
        "transcoder": {"d_out": D_OUT},
        "skip_transcoder": {"d_out": D_OUT, "normalize_activations": "layer_norm"},
        "jumprelu_transcoder": {"d_out": D_IN},
        "jumprelu_skip_transcoder": {"d_out": D_OUT},
    }.items():
        folder = DATA / f"saelens_{name}"
        given = {**common, "apply_b_dec_to_input": False, **settings, "architecture": name, "metadata": metadata}
        transcoder = SAE.from_dict(given)
        scramble(transcoder)
        transcoder.save_model(folder)
        again = SAE.load_from_disk(folder)
        keep(folder.name, again.encode(activations()), "sae-lens", again(activations()))


def saelens_before_6() -> None:
    """SAEs with a finetuning_scaling_factor, which only versions before 6 write and apply."""
    from sae_lens import SAE, SAEConfig

    for architecture in ("standard", "jumprelu"):  # its gated class applies a factor that it does not hold
        config = SAEConfig(
            architecture=architecture, d_in=D_IN, d_sae=D_SAE, activation_fn_str="relu", apply_b_dec_to_input=True,
            finetuning_scaling_factor=True, context_size=128, model_name="gpt2-small", hook_layer=3,
            hook_name="blocks.3.hook_resid_pre", hook_head_index=None, prepend_bos=True, dataset_path="text",
            dataset_trust_remote_code=True, normalize_activations="none", dtype="float32", device="cpu",
            sae_lens_training_version="5.11.0",
        )  # fmt: skip
        sae = SAE(config)
        scramble(sae)
        folder = DATA / f"saelens_finetuned_{architecture}"
        folder.mkdir(parents=True, exist_ok=True)
        sae.save_model(str(folder))
        codes = sae.encode(activations())
        keep(folder.name, codes, "sae-lens", sae.decode(codes))


def saelens_layouts() -> None:
    """Files as Gemma Scope 2, Qwen-Scope and others publish them, encoded by what SAELens's loaders make of them."""
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> torch.Tensor:
        return 0.4 * torch.randn(shape, generator=generator)

    def tensors(*names: str, turned: bool = False) -> dict[str, torch.Tensor]:
        shapes = [(D_IN, D_SAE), (D_SAE,), (D_SAE, D_IN), (D_IN,)]
        return {name: draw(*(shape[::-1] if turned else shape)) for name, shape in zip(names, shapes, strict=True)}

    def write(name: str, repository: str, path: str, weights: dict[str, Any], **texts: Any) -> None:
        root = DATA / name / repository.rsplit("/", maxsplit=1)[-1]
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (save_file if path.endswith(".safetensors") else torch.save)(weights, file)
        for other, content in texts.items():
            (file.parent / other.replace("__", ".")).write_text(json.dumps(content))

    def encode(name: str, loader: str, repository: str, folder: str, scale: float = 1, **sizes: Any) -> None:
        root = DATA / name / repository.rsplit("/", maxsplit=1)[-1]
        loaders.hf_hub_download = lambda repo_id, filename, subfolder="", **_: str(root / subfolder / filename)
        loaders.get_safetensors_tensor_shapes = lambda _, file: {
            key: list(value.shape) for key, value in loaders.load_safetensors_weights(root / file).items()
        }
        load = loaders.NAMED_PRETRAINED_SAE_LOADERS[loader]
        config, state, _ = load(repository, folder, "cpu", False, {"dtype": "float32", **sizes})
        sae = SAE.from_dict(loaders.handle_config_defaulting(config))
        sae.load_state_dict(state)
        sae.fold_activation_norm_scaling_factor(scale)
        x = activations()
        codes = sae.encode(x.reshape(N_TOKENS, 3, D_IN // 3) if config.get("reshape_activations") == "hook_z" else x)
        out = sae(x) if "transcoder" in config["architecture"] else sae.decode(codes).reshape(N_TOKENS, D_IN)
        keep(name, codes / scale, "sae-lens", out)

    sizes = {"d_in": D_IN, "d_sae": D_SAE}
    hook = "model.layers.9.self_attn.o_proj.input"
    threshold = draw(D_SAE).abs() * 2 - 0.1  # some below 0: a ReLU comes first
    repository, folder = "google/gemma-scope-2-270m-pt", "attn_out/layer_9_width_16k_l0_small"
    weights = tensors("w_enc", "b_enc", "w_dec", "b_dec") | {"threshold": threshold}
    config = {
        "hf_hook_point_in": hook, "hf_hook_point_out": hook, "width": D_SAE, "model_name": "google/gemma-3-270m",
        "architecture": "jump_relu", "l0": 10, "affine_connection": False, "type": "sae",
    }  # fmt: skip
    write("gemma_scope_2", repository, f"{folder}/params.safetensors", weights, config__json=config)
    encode("gemma_scope_2", "gemma_3", repository, folder)

    repository = f"Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_{K}"
    write("qwen_scope", repository, "layer3.sae.pt", tensors("W_enc", "b_enc", "W_dec", "b_dec", turned=True))
    encode("qwen_scope", "qwen_scope", repository, "layer3.sae.pt", **sizes)

    names = ("encoder_linear.weight", "encoder_linear.bias", "decoder_linear.weight", "decoder_linear.bias")
    repository, file = "Goodfire/Llama-3.1-8B-Instruct-SAE-l19", "Llama-3.1-8B-Instruct-SAE-l19.pth"
    write("goodfire", repository, file, tensors(*names, turned=True))
    encode("goodfire", "goodfire", repository, file, **sizes)

    names = ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")
    repository, file = "qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19", "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"
    write("qresearch", repository, file, tensors(*names, turned=True))
    encode("qresearch", "deepseek_r1", repository, file, **sizes)

    repository, stem = "ckkissane/attn-saes-gpt2-small-all-layers", "gpt2-small_L5_Hcat_z_lr1.20e-03_v9"
    config = {"act_name": "blocks.5.attn.hook_z", "act_size": D_IN, "dict_size": D_SAE, "seed": 49}
    weights = tensors("W_enc", "b_enc", "W_dec", "b_dec")
    write("attention_saes", repository, f"{stem}.pt", weights, **{f"{stem}_cfg__json": config})
    encode("attention_saes", "connor_rob_hook_z", repository, f"{stem}.pt")

    repository, folder = "fnlp/Llama-Scope-R1-Distill", "400M-Slimpajama-400M-OpenR1-Math-220k/L3R"
    hook = "blocks.3.hook_resid_post"
    weights = tensors(*names, turned=True) | {
        "log_jumprelu_threshold": draw(D_SAE),
        f"dataset_average_activation_norm.{hook}": torch.tensor(4.5),
    }
    config = {
        "sae_type": "sae", "d_model": D_IN, "expansion_factor": D_SAE / D_IN, "act_fn": "jumprelu",
        "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": False, "hook_point_in": hook,
        "hook_point_out": hook,
    }  # fmt: skip
    write("llamascopium_before_2", repository, f"{folder}/sae_weights.safetensors", weights, config__json=config)
    scale = math.sqrt(D_IN) / 4.5
    encode("llamascopium_before_2", "llama_scope_r1_distill", repository, folder, scale, d_sae=D_SAE)

    repository = "google/gemma-scope-2-270m-pt"
    for name, skip in (("gemma_scope_2_transcoder", {}), ("gemma_scope_2_skip_transcoder", {"affine_skip_connection"})):
        folder = "transcoder_all/layer_9_width_16k_l0_small" + ("_affine" if skip else "")
        weights = tensors("w_enc", "b_enc", "w_dec", "b_dec") | {"threshold": threshold}
        weights |= {key: draw(D_IN, D_IN) for key in skip}
        config = {
            "hf_hook_point_in": "model.layers.9.pre_feedforward_layernorm.output",
            "hf_hook_point_out": "model.layers.9.post_feedforward_layernorm.output", "width": D_SAE,
            "model_name": "google/gemma-3-270m", "architecture": "jump_relu", "l0": 10,
            "affine_connection": bool(skip), "type": "transcoder",
        }  # fmt: skip
        write(name, repository, f"{folder}/params.safetensors", weights, config__json=config)
        encode(name, "gemma_3", repository, folder)


def dictionary_learning() -> None:
    """As its training loop saves them: the state dict and the trainer's configuration; encoded as it loads them."""
    from dictionary_learning.dictionary import AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK
    from dictionary_learning.utils import load_dictionary

    cases: dict[str, torch.nn.Module] = {
        "relu": AutoEncoder(D_IN, D_SAE),
        "relu_new": AutoEncoderNew(D_IN, D_SAE),
        "topk": AutoEncoderTopK(D_IN, D_SAE, K),
        "batchtopk": BatchTopKSAE(D_IN, D_SAE, K),
        "matryoshka": MatryoshkaBatchTopKSAE(D_IN, D_SAE, K, [8, 8, 16]),
        "jumprelu": JumpReluAutoEncoder(D_IN, D_SAE),
        "gated": GatedAutoEncoder(D_IN, D_SAE),
    }
    for name, sae in cases.items():
        scramble(sae)
        if "threshold" in dict(sae.named_buffers()):
            sae.threshold.fill_(0.6)
        folder = DATA / f"dictionary_learning_{name}"
        folder.mkdir(parents=True, exist_ok=True)
        trainer = {
            "dict_class": type(sae).__name__, "activation_dim": D_IN, "dict_size": D_SAE, "layer": 3, "seed": 0,
            "lm_name": "EleutherAI/pythia-70m-deduped", "submodule_name": "resid_post_layer_3",
        } | ({"k": K} if hasattr(sae, "k") else {})  # fmt: skip
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
        torch.save(sae.state_dict(), folder / "ae.pt")
        loaded, _ = load_dictionary(str(folder), "cpu")
        codes = loaded.encode(activations())
        out = loaded.decode(codes) if name == "gated" else None
        keep(f"dictionary_learning_{name}", codes, "dictionary-learning", out)


def sparsify() -> None:
    """`save_to_disk` of sparsify."""
    from sparsify import SparseCoder
    from sparsify.config import SparseCoderConfig

    for name, settings in {
        "topk": {"normalize_decoder": True},
        "transcoder/layers.3.mlp": {"transcode": True},
        "skip_transcoder/layers.3.mlp": {"transcode": True, "skip_connection": True},
        "groupmax": {"activation": "groupmax", "k": 4},
    }.items():
        sae = SparseCoder(D_IN, SparseCoderConfig(**{"num_latents": D_SAE, "k": K, **settings}))
        scramble(sae)
        sae.save_to_disk(DATA / f"sparsify_{name}")
        if name != "groupmax":
            again = SparseCoder.load_from_disk(DATA / f"sparsify_{name}")
            values, indices, _ = again.encode(activations())
            output = again(activations(), activations()).sae_out if "transcoder" in name else None
            codes = torch.zeros(N_TOKENS, D_SAE).scatter(1, indices, values)
            keep(f"sparsify_{name.split('/')[0]}", codes, "eai-sparsify", output)


def llamascopium() -> None:
    """`save_pretrained` of Llamascopium. Codes are brought to the activations' own units, and to unit decoder rows
    where features are chosen as if these were: see our module for it."""
    from llamascopium.models.sae import SAEConfig, SparseAutoEncoder

    hook = "blocks.3.hook_resid_post"
    cases: dict[str, dict[str, Any]] = {
        "relu": {"act_fn": "relu", "norm_activation": "inference"},
        "jumprelu": {"act_fn": "jumprelu"},
        "jumprelu_by_value": {"act_fn": "jumprelu", "sparsity_include_decoder_norm": False},
        "topk": {"act_fn": "topk"},
        "topk_token_wise": {"act_fn": "topk", "norm_activation": "token-wise", "sparsity_include_decoder_norm": False},
        "batchtopk": {"act_fn": "batchtopk"},
    }
    for name, settings in cases.items():
        config = SAEConfig(
            hook_point_in=hook, hook_point_out=hook, d_model=D_IN, expansion_factor=D_SAE / D_IN, top_k=K, **settings
        )
        sae = SparseAutoEncoder(config)
        scramble(sae)
        sae.set_dataset_average_activation_norm({hook: 4.5})
        folder = DATA / f"llamascopium_{name}"
        folder.mkdir(parents=True, exist_ok=True)
        sae.save_pretrained(folder)
        config.save_hyperparameters(folder)
        if name == "batchtopk":
            continue
        again = SparseAutoEncoder.from_local(str(folder))
        batch = again.normalize_activations({hook: activations()})[hook]
        codes = again.encode(batch)
        codes = codes / (math.sqrt(D_IN) / 4.5 if config.norm_activation == "dataset-wise" else 1)
        keep(f"llamascopium_{name}", codes * sae.decoder_norm() if name == "topk" else codes, "llamascopium")

    _llamascopium_transcoders()


def _llamascopium_transcoders() -> None:
    """Scaled, encoded, decoded and scaled back as the library does; the two hooks have norms of their own."""
    from llamascopium.models.sae import SAEConfig, SparseAutoEncoder

    into, out = "blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out"
    for act_fn in ("jumprelu", "topk"):
        config = SAEConfig(
            hook_point_in=into, hook_point_out=out, d_model=D_IN, expansion_factor=D_SAE / D_IN, top_k=K, act_fn=act_fn
        )
        sae = SparseAutoEncoder(config)
        scramble(sae)
        sae.set_dataset_average_activation_norm({into: 4.5, out: 2.25})
        folder = DATA / f"llamascopium_{act_fn}_transcoder"
        folder.mkdir(parents=True, exist_ok=True)
        sae.save_pretrained(folder)
        config.save_hyperparameters(folder)
        again = SparseAutoEncoder.from_local(str(folder))
        codes = again.encode(again.normalize_activations({into: activations()})[into])
        output = again.decode(codes) / again.compute_norm_factor(activations(), hook_point=out)
        codes = codes / (math.sqrt(D_IN) / 4.5)
        if act_fn == "topk":  # decoder rows in the activations' own units get unit norm
            codes = codes * again.decoder_norm() * 2.25 / 4.5
        keep(folder.name, codes, "llamascopium", output)


def circuit_tracer() -> None:
    """`to_safetensors` of circuit-tracer's per-layer transcoders; config.yaml as its repositories have it."""
    from circuit_tracer.transcoder.activation_functions import JumpReLU
    from circuit_tracer.transcoder.single_layer_transcoder import (
        SingleLayerTranscoder,
        TranscoderSet,
        load_relu_transcoder,
    )

    for name, activation, skip in (
        ("relu", torch.nn.functional.relu, False),
        ("jumprelu_skip", JumpReLU(torch.zeros(D_SAE)), True),
    ):
        transcoder = SingleLayerTranscoder(D_IN, D_SAE, activation, 0, skip, dtype=torch.float32)
        scramble(transcoder)
        if skip:
            with torch.no_grad():
                transcoder.activation_function.threshold.abs_()
        hooks = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}
        folder = DATA / f"circuit_tracer_{name}"
        TranscoderSet({0: transcoder}, **hooks).to_safetensors(str(folder))
        config = {"model_name": "Qwen/Qwen3-0.6B", "model_kind": "transcoder_set", **hooks}
        (folder / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in config.items()))
        path = str(folder / "layer_0.safetensors")
        again = load_relu_transcoder(path, 0, torch.device("cpu"), lazy_encoder=False, lazy_decoder=False)
        keep(folder.name, again.encode(activations()), "circuit-tracer", again(activations()))


def published() -> None:
    """Gemma Scope's and OpenAI's files from their layouts alone."""
    generator = np.random.default_rng(1)
    x = activations().double().numpy()

    def draw(*shape: int) -> np.ndarray:
        return (0.4 * generator.standard_normal(shape)).astype(np.float32)

    w_enc, w_dec, b_enc, b_dec = draw(D_IN, D_SAE), draw(D_SAE, D_IN), draw(D_SAE), draw(D_IN)
    threshold = np.abs(draw(D_SAE)) * 2 - 0.1  # some below 0: a ReLU comes first
    pre = x @ w_enc.astype(float) + b_enc
    codes = np.maximum(pre, 0) * (pre > threshold)
    for name, prefix, save in (("gemma_scope", "W", np.savez), ("gemma_scope_compressed", "w", np.savez_compressed)):
        folder = DATA / name / "layer_3" / "width_32" / "average_l0_9"
        folder.mkdir(parents=True, exist_ok=True)
        weights = {f"{prefix}_enc": w_enc, f"{prefix}_dec": w_dec}
        save(folder / "params.npz", **weights, b_enc=b_enc, b_dec=b_dec, threshold=threshold)
        keep(name, codes, "")
    state = {
        "pre_bias": b_dec, "latent_bias": b_enc, "encoder.weight": w_enc.T.copy(), "decoder.weight": w_dec.T.copy(),
        "latents_activation_frequency": np.ones(D_SAE, np.float32), "latents_mean_square": np.zeros(D_SAE, np.float32),
        "stats_last_nonzero": np.zeros(D_SAE, np.int64),
    }  # fmt: skip
    tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save(tensors | {"activation": "ReLU", "activation_state_dict": {}}, DATA / "openai_relu.pt")
    keep("openai_relu", np.maximum((x - b_dec) @ w_enc.astype(float) + b_enc, 0), "")
    topk = {"activation": "TopK", "activation_state_dict": {"k": K, "postact_fn": "ReLU"}}
    torch.save(tensors | topk, DATA / "openai_topk.pt")
    centred = x - x.mean(axis=1, keepdims=True)
    normal = centred / (centred.std(axis=1, ddof=1, keepdims=True) + 1e-5)
    pre = (normal - b_dec) @ w_enc.astype(float) + b_enc
    keep("openai_topk", np.where(pre >= np.sort(pre, axis=1)[:, -K, None], np.maximum(pre, 0), 0), "")


TOOLS: dict[str, Callable[[], None]] = {
    tool.__name__: tool
    for tool in (
        *(saelens, saelens_layouts, saelens_before_6, dictionary_learning, sparsify, llamascopium),
        *(circuit_tracer, published),
    )
}

if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    TOOLS[sys.argv[1]]()
