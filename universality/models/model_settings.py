"""Settings of a language model that is trained in a run: its sizes, how it learns, and its seeds."""

from dataclasses import dataclass
from typing import Literal

from universality.checked_settings import CheckedSettings, Count, Natural, NotNegative, Positive, Share, ShareBelowOne


@dataclass(frozen=True)
class ModelArchitecture(CheckedSettings):
    """A small transformer, built by TransformerLens without a hub."""

    n_layers: Count = 1
    """Blocks of attention and MLP."""
    d_model: Count = 128
    """Width of the residual stream."""
    n_heads: Count = 4
    """Attention heads; d_model must be a multiple."""
    d_mlp: Count = 512
    """Neurons of each MLP."""
    act_fn: Literal["relu", "gelu", "gelu_new", "silu"] = "relu"
    """The MLP's non-linearity."""


@dataclass(frozen=True)
class ModelTraining(CheckedSettings):
    """Training of a language model: AdamW, linear warm-up, cosine decay."""

    epochs: Positive = 3.0
    """Passes over the training documents."""
    batch_blocks: Count = 32
    """Token blocks per step."""
    learning_rate: Positive = 4e-3
    """Peak of the schedule."""
    warmup_share: ShareBelowOne = 0.02
    """Share of the steps in which the learning rate rises linearly."""
    final_share: Share = 0.05
    """Learning rate at the end of the cosine, as a share of the peak."""
    weight_decay: NotNegative = 0.1
    """AdamW's weight decay, applied to matrices only."""
    gradient_clip: Positive = 1.0
    """Largest norm of the gradient."""
    products: Literal["float32", "bfloat16"] = "float32"
    """Number format of the unembedding's products; bfloat16 is faster where the CPU or GPU multiplies it."""
    checkpoint_steps: Count = 500
    """Steps between checkpoints; an interrupted training resumes from the last one."""


@dataclass(frozen=True)
class ModelSeeds(CheckedSettings):
    """The two seeds in which trained models of a study differ."""

    init: Natural
    """Seed for the initial weights."""
    order: Natural
    """Seed for the order in which training blocks are read."""
