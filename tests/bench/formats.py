"""Loading an SAE of 65,536 features on 2,304 dimensions from each format, against reading its bytes.

    python tests/bench/formats.py [--d-sae 65536] [--d-in 2304] [--rounds 3] [--formats sparsify ...] [--folder DIR]

Each format's file is written once (1.2 GB at the default size, float32), measured and deleted. Every measurement is a
process of its own, reading and loading in turn, the file in the system's cache for both: wall and processor seconds of
the best round, and the growth of the process's peak memory, mapped pages of the file included. Target: 1.2 × reading.
"first encode" is what the first call of `encode` takes after that, where an encoder that lies by input is turned.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from universality.sae import SAE

TARGET = 1.2


def random(*shape: int) -> Tensor:
    """Numbers in which no two rows are alike; drawn from a short list, since drawing takes longer than writing."""
    table = torch.randn(2**20 + 7, generator=torch.Generator().manual_seed(0))
    count = int(np.prod(shape))
    return table.repeat(count // len(table) + 1)[:count].view(shape)


def write_ours(folder: Path, d_in: int, d_sae: int) -> None:
    SAE(random(d_in, d_sae), random(d_sae), random(d_sae, d_in), random(d_in), "topk", k=32).save(folder)


def write_saelens(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {"W_enc": random(d_in, d_sae), "b_enc": random(d_sae)}
    save_file(weights | {"W_dec": random(d_sae, d_in), "b_dec": random(d_in)}, folder / "sae_weights.safetensors")
    config = {
        "architecture": "topk",
        "k": 32,
        "d_in": d_in,
        "d_sae": d_sae,
        "metadata": {"sae_lens_version": "6.54.12"},
    }
    (folder / "cfg.json").write_text(json.dumps(config))


def write_sparsify(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {"encoder.weight": random(d_sae, d_in), "encoder.bias": random(d_sae)}
    save_file(weights | {"W_dec": random(d_sae, d_in), "b_dec": random(d_in)}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": d_in, "num_latents": d_sae, "k": 32}))


def write_llamascopium(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {"W_E": random(d_in, d_sae), "b_E": random(d_sae), "W_D": random(d_sae, d_in), "b_D": random(d_in)}
    threshold = {"activation_function.log_jumprelu_threshold": random(d_sae)}
    save_file(weights | threshold, folder / "sae_weights.safetensors")
    config = {
        "sae_type": "sae", "d_model": d_in, "expansion_factor": d_sae / d_in, "act_fn": "jumprelu",
        "norm_activation": "inference", "sparsity_include_decoder_norm": False, "hook_point_in": "x",
        "hook_point_out": "x",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def write_dictionary_learning(folder: Path, d_in: int, d_sae: int) -> None:
    state = {
        "encoder.weight": random(d_sae, d_in), "encoder.bias": random(d_sae), "decoder.weight": random(d_in, d_sae),
        "b_dec": random(d_in), "k": torch.tensor(32), "threshold": torch.tensor(0.5),
    }  # fmt: skip
    torch.save(state, folder / "ae.pt")
    trainer = {"dict_class": "BatchTopKSAE", "activation_dim": d_in, "dict_size": d_sae, "k": 32}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}))


def write_gemma_scope(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {
        "W_enc": random(d_in, d_sae),
        "b_enc": random(d_sae),
        "W_dec": random(d_sae, d_in),
        "b_dec": random(d_in),
    }
    weights["threshold"] = random(d_sae).abs()
    np.savez(folder / "params.npz", **{name: tensor.numpy() for name, tensor in weights.items()})


def write_openai(folder: Path, d_in: int, d_sae: int) -> None:
    state: dict[str, Any] = {
        "encoder.weight": random(d_sae, d_in), "latent_bias": random(d_sae), "decoder.weight": random(d_in, d_sae),
        "pre_bias": random(d_in), "activation": "TopK", "activation_state_dict": {"k": 32},
    }  # fmt: skip
    torch.save(state, folder / "sae.pt")


def write_gemma_scope_2(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {"w_enc": random(d_in, d_sae), "b_enc": random(d_sae), "w_dec": random(d_sae, d_in)}
    weights |= {"b_dec": random(d_in), "threshold": random(d_sae).abs()}
    save_file(weights, folder / "params.safetensors")
    hook = "model.layers.9.output"
    config = {"architecture": "jump_relu", "hf_hook_point_in": hook, "hf_hook_point_out": hook}
    (folder / "config.json").write_text(json.dumps(config))


def write_qwen_scope(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {
        "W_enc": random(d_sae, d_in),
        "b_enc": random(d_sae),
        "W_dec": random(d_in, d_sae),
        "b_dec": random(d_in),
    }
    torch.save(weights, folder / "layer3.sae.pt")
    (folder / "config.json").write_text(json.dumps({"k": 50}))


def write_linear_layers(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {"encoder.weight": random(d_sae, d_in), "encoder.bias": random(d_sae)}
    weights |= {"decoder.weight": random(d_in, d_sae), "decoder.bias": random(d_in)}
    torch.save(weights, folder / "Model-SAE-l19.pt")


def write_attention_saes(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {
        "W_enc": random(d_in, d_sae),
        "b_enc": random(d_sae),
        "W_dec": random(d_sae, d_in),
        "b_dec": random(d_in),
    }
    torch.save(weights, folder / "sae.pt")
    config = {"act_name": "blocks.0.attn.hook_z", "act_size": d_in, "dict_size": d_sae}
    (folder / "sae_cfg.json").write_text(json.dumps(config))


def write_llamascopium_before_2(folder: Path, d_in: int, d_sae: int) -> None:
    write_llamascopium(folder, d_in, d_sae)
    weights = {"encoder.weight": random(d_sae, d_in), "encoder.bias": random(d_sae)}
    weights |= {"decoder.weight": random(d_in, d_sae), "decoder.bias": random(d_in)}
    save_file(weights | {"log_jumprelu_threshold": random(d_sae)}, folder / "sae_weights.safetensors")


def write_saelens_gated(folder: Path, d_in: int, d_sae: int) -> None:
    weights = {"W_enc": random(d_in, d_sae), "W_dec": random(d_sae, d_in), "b_dec": random(d_in)}
    gates = {name: random(d_sae) for name in ("r_mag", "b_gate", "b_mag")}
    save_file(weights | gates, folder / "sae_weights.safetensors")
    config = {"architecture": "gated", "d_in": d_in, "d_sae": d_sae, "metadata": {"sae_lens_version": "6.54.12"}}
    (folder / "cfg.json").write_text(json.dumps(config))


def write_dictionary_learning_gated(folder: Path, d_in: int, d_sae: int) -> None:
    gates = {name: random(d_sae) for name in ("r_mag", "gate_bias", "mag_bias")}
    state = {
        "encoder.weight": random(d_sae, d_in), "decoder.weight": random(d_in, d_sae), "decoder_bias": random(d_in),
    }  # fmt: skip
    torch.save(state | gates, folder / "ae.pt")
    trainer = {"dict_class": "GatedAutoEncoder", "activation_dim": d_in, "dict_size": d_sae}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}))


FORMATS: dict[str, Callable[[Path, int, int], None]] = {
    "ours": write_ours,
    "saelens": write_saelens,
    "sparsify": write_sparsify,
    "llamascopium": write_llamascopium,
    "dictionary_learning": write_dictionary_learning,
    "gemma_scope": write_gemma_scope,
    "openai": write_openai,
    "gemma_scope_2": write_gemma_scope_2,
    "qwen_scope": write_qwen_scope,
    "linear_layers": write_linear_layers,
    "attention_saes": write_attention_saes,
    "llamascopium_before_2": write_llamascopium_before_2,
    "saelens_gated": write_saelens_gated,
    "dictionary_learning_gated": write_dictionary_learning_gated,
}


def measure(task: str, folder: Path) -> dict[str, float]:
    """In a process of its own: read the bytes of the largest file, or load the SAE."""
    largest = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    named = largest if largest.suffix == ".pt" and largest.name != "ae.pt" else folder
    kept: Any = largest.read_bytes() if task == "read" else SAE.load(named)
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    if task == "load":
        wall = time.perf_counter()
        kept.encode(np.zeros((1, kept.d_in), np.float32))
        found["encode"] = time.perf_counter() - wall
    return found


def in_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}


def compare(name: str, options: argparse.Namespace) -> None:
    """One row of the table."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sizes = ["--d-in", str(options.d_in), "--d-sae", str(options.d_sae)]
        in_process("--write", name, "--folder", folder, *sizes)
        rounds = [(in_process("--read", folder), in_process("--load", folder)) for _ in range(options.rounds)]
    read, load = ({key: min(found[i][key] for found in rounds) for key in rounds[0][i]} for i in (0, 1))
    print(
        f"{name:>25} {read['wall']:>7.2f} {load['wall']:>7.2f} {load['wall'] / read['wall']:>6.2f} "
        f"{load['cpu'] / read['cpu']:>6.2f} {read['memory']:>8.2f} {load['memory']:>8.2f} "
        f"{load['memory'] / read['memory']:>6.2f} {load['encode']:>14.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--d-sae", type=int, default=65_536)
    parser.add_argument("--d-in", type=int, default=2304)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"))
    parser.add_argument("--write", choices=list(FORMATS), help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        FORMATS[options.write](options.folder, options.d_in, options.d_sae)
        return
    if options.read or options.load:
        print(json.dumps(measure("read" if options.read else "load", options.read or options.load)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    print(f"an SAE of {options.d_sae:,} × {options.d_in:,} in float32; target: at most {TARGET} × reading its bytes")
    print(
        f"{'format':>25} {'read s':>7} {'load s':>7} {'ratio':>6} {'CPU':>6} {'read GB':>8} {'load GB':>8} "
        f"{'ratio':>6} {'first encode s':>14}"
    )
    for name in options.formats:
        compare(name, options)


if __name__ == "__main__":
    main()
