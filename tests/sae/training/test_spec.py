"""Settings of one SAE: tuned defaults, plain numbers, values that are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from universality.errors import ConfigError
from universality.sae import SAESpec, SAETrainer


def test_the_learning_rate_follows_the_width_unless_given() -> None:
    assert SAESpec(8192).peak_rate == pytest.approx(SAESpec(2048).peak_rate / 2)
    assert SAESpec(64).peak_rate == SAESpec(512).peak_rate, "none narrower was measured"
    assert SAESpec(8192, learning_rate=1e-3).peak_rate == 1e-3
    assert SAESpec(8192).as_dict()["learning_rate"] == SAESpec(8192).peak_rate, "what is recorded is a number"


def test_the_l1_penalty_follows_the_width_unless_given() -> None:
    found = {width: SAESpec(width, "relu").as_dict()["l1"] for width in (64, 512, 2048, 8192, 65_536)}
    assert found[64] == found[512] < found[2048] < found[8192] == found[65_536]
    assert found[8192] == pytest.approx(found[2048] * 4**0.4)
    assert SAESpec(2048, "relu", l1=0.0).as_dict()["l1"] == 0
    assert SAETrainer(SAESpec(64, "relu"), torch.randn(50, 8), 5).architecture.penalty(torch.ones(1, 1), 1) == found[64]


def test_numbers_of_numpy_are_plain_ones() -> None:
    spec = SAESpec(np.int64(64), k=np.int32(3), learning_rate=np.float32(0.5), nested=())
    assert type(spec.d_sae) is type(spec.k) is int
    assert type(spec.learning_rate) is float
    assert json.loads(json.dumps(spec.as_dict()))["learning_rate"] == 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architecture": "gated"}, "unknown SAE architecture 'gated'; known: relu, jumprelu, topk"),
        ({"products": "float16"}, "products must be float32 or bfloat16, found 'float16'"),
        ({"k": 0}, "k must be at least 1, found 0"),
        ({"k": 65}, r"k \(65\) features cannot fire in a dictionary of 64; lower k"),
        ({"l1": -1.0}, "l1 must be at least 0, found -1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0, found 0.0"),
        ({"beta2": 1.0}, r"beta2 must be at least 0 and less than 1, found 1.0"),
        ({"warmup_share": 0.6, "decay_share": 0.6}, "warmup_share [+] decay_share must not exceed 1"),
        ({"penalty_warmup_share": 1.5}, "penalty_warmup_share must be at least 0 and at most 1, found 1.5"),
        ({"architecture": "batchtopk", "k": 65}, r"k \(65\) features cannot fire in a dictionary of 64; lower k"),
        ({"architecture": "matryoshka", "nested": [16, 16]}, r"nested widths must rise .* found \[16, 16\]"),
        ({"architecture": "matryoshka", "nested": [16, 64]}, "to below d_sae = 64, found"),
        ({"nested": [16]}, r"nested widths are of matryoshka, found \[16\] for topk"),
        ({"l0": -1.0}, "l0 must be at least 0, found -1.0"),
        ({"weight_decay": -1e-3}, "weight_decay must be at least 0, found -0.001"),
        ({"learning_rate": "x"}, "learning_rate must be a number, found 'x'"),
        ({"learning_rate": True}, "learning_rate must be a number, found True"),
        ({"k": "8"}, "k must be a whole number, found '8'"),
        ({"k": 1.5}, "k must be a whole number, found 1.5"),
        ({"seed": None}, "seed must be a whole number, found None"),
        ({"k": [8]}, r"k must be a whole number, found \[8\]"),
        ({"nested": 5}, "nested must be a list, found 5"),
        ({"resample_at": ["a"]}, "resample_at must be a number, found 'a'"),
        ({"architecture": ["topk"]}, r"unknown SAE architecture \['topk'\]"),
        ({"bandwidth": 0.0}, "bandwidth must be more than 0, found 0.0"),
        (
            {"resample_at": [0.5, 1.0]},
            r"resample_at holds shares of the steps, above 0 and below 1, found \(0.5, 1.0\)",
        ),
    ],
)
def test_specs_that_cannot_work_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SAESpec(64, **fields)
