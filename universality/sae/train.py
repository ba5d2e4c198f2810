"""Training one SAE: a step on each batch it is given."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from universality.errors import FormatError, MismatchError, ModelError
from universality.sae.architectures import architecture
from universality.sae.initialise import ActivationSummary, initial_weights, summarise
from universality.sae.sae import SAE
from universality.sae.spec import SAESpec
from universality.sae.step import Batch, Step
from universality.sae.weights import Weights
from universality.sae.workers import one_core


class SAETrainer:
    """An SAE in training, on the device of its sample.

    Inside, activations are scaled to a mean squared norm of d_in. After each step of Adam the decoder rows are unit
    vectors again; the gradient along each is removed before (Bricken et al. 2023). The same spec, sample and batches
    give the same bytes, alone or in a grid, for any number of threads.

    Parameters
    ----------
    spec
        What to train.
    sample : [n_tokens, d_in]
        Some thousand activations of the model, or their summary (`summarise`), which SAEs of one model may share.
    total_steps
        Steps of the learning rate's schedule.

    Raises
    ------
    ModelError
        If the sample cannot be learnt from.
    """

    def __init__(self, spec: SAESpec, sample: Tensor | ActivationSummary, total_steps: int) -> None:
        if total_steps < 1:
            raise ModelError(f"total_steps must be at least 1, found {total_steps}")
        summary = sample if isinstance(sample, ActivationSummary) else summarise(sample)
        self.spec, self.total_steps = spec, total_steps
        self.scale = summary.scale
        self.d_in = summary.centre.numel()
        self.step_count = 0
        self.tokens_seen = 0
        self.architecture = architecture(spec.architecture, spec.as_dict())
        self.weights = initial_weights(spec.d_sae, summary, spec.seed)
        self.device = self.weights.b_dec.device
        self.silent_tokens = torch.zeros(spec.d_sae, dtype=torch.int64, device=self.device)
        self._adam = torch.optim.Adam(
            list(self.weights.tensors().values()),
            lr=spec.learning_rate,
            betas=(spec.beta1, spec.beta2),
            eps=spec.epsilon,
            fused=self.device.type in ("cpu", "cuda"),
        )

    @property
    def learning_rate(self) -> float:
        """Of the next step: linear warm-up, the peak, linear decay to 0 after the last."""
        warmup = self.spec.warmup_share * self.total_steps
        decay = self.spec.decay_share * self.total_steps
        rise = (self.step_count + 1) / warmup if warmup else 1.0
        fall = (self.total_steps - self.step_count) / decay if decay else 1.0
        return self.spec.learning_rate * max(0.0, min(1.0, rise, fall))

    @torch.no_grad()
    def step(self, batch: Tensor, report: bool = False) -> dict[str, float]:
        """Learn from a batch.

        Parameters
        ----------
        batch : [n_tokens, d_in]
            Activations, in their own units.
        report
            Whether to return numbers; on a GPU they make it wait.

        Returns
        -------
        dict
            Empty, or ``loss``, ``explained_variance`` and ``l0`` of this batch before the step, ``dead_share``
            and ``learning_rate``.

        Raises
        ------
        MismatchError
            If the batch has another width than the sample.
        ModelError
            If the loss is NaN or infinite: on a CPU at once, on a GPU when a report is asked for.
        """
        if batch.ndim != 2 or batch.shape[1] != self.d_in or batch.shape[0] < 1:
            raise MismatchError(
                f"expected a batch of activations [n_tokens, {self.d_in}], as in the sample, "
                f"found shape {tuple(batch.shape)}"
            )
        with one_core():
            x = batch.to(self.device, torch.float32) * self.scale
            parts = Batch.of(x, self.weights.b_dec, self.spec.apply_b_dec_to_input)
            dead = (self.silent_tokens >= self.spec.dead_after_tokens).nonzero().squeeze(1)
            step, auxiliary = self.architecture.step(
                self.weights, parts, dead, getattr(torch, self.spec.products), self.spec.apply_b_dec_to_input
            )
            rate = self.learning_rate
            if report or self.device.type == "cpu":  # a GPU need not wait for it
                self._check(step)
            numbers = self._numbers(step, auxiliary, x, rate) if report else {}
            self._update(step.gradients, rate)
            self._count(step, len(x))
        return {**numbers, "dead_share": len(dead) / self.spec.d_sae} if report else {}

    def _update(self, gradients: Weights, rate: float) -> None:
        """Adam, with decoder rows kept on the unit sphere."""
        decoder, grad = self.weights.W_dec, gradients.W_dec
        grad.addcmul_(torch.linalg.vecdot(grad, decoder)[:, None], decoder, value=-1)
        for name, tensor in self.weights.tensors().items():
            tensor.grad = getattr(gradients, name)
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()
        decoder.div_(torch.linalg.vector_norm(decoder, dim=1, keepdim=True))
        self.step_count += 1

    def _count(self, step: Step, n_tokens: int) -> None:
        self.tokens_seen += n_tokens
        self.silent_tokens += n_tokens
        self.silent_tokens[step.firings > 0] = 0

    def _check(self, step: Step) -> None:
        """Stop at a loss that is no number, before it reaches the weights."""
        if not math.isfinite(step.squared_error):
            raise ModelError(
                f"the squared error of {self.spec} is {float(step.squared_error)} at step {self.step_count}: the "
                "batch holds NaN or infinity, or the learning rate is too high"
            )

    def _numbers(self, step: Step, auxiliary: Tensor | float, x: Tensor, rate: float) -> dict[str, float]:
        n_tokens = len(x)
        error = float(step.squared_error)
        loss = error / x.numel() + self.spec.l1 * float(step.activation_sum) / n_tokens
        loss += self.spec.aux_weight * float(auxiliary)
        total = float((x - x.mean(dim=0)).square().sum())
        return {
            "loss": loss,
            "explained_variance": 1 - error / total if total else math.nan,
            "l0": float(step.firings.sum()) / n_tokens,
            "learning_rate": rate,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to end in the same bytes; `torch.load(weights_only=True)` reads it."""
        return {
            "spec": json.dumps(self.spec.as_dict(), sort_keys=True),
            "total_steps": self.total_steps,
            "scale": self.scale,
            "step_count": self.step_count,
            "tokens_seen": self.tokens_seen,
            "silent_tokens": self.silent_tokens,
            "weights": self.weights.tensors(),
            "adam": self._adam.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises
        ------
        MismatchError
            If it is of another spec or schedule.
        FormatError
            If something is missing.
        """
        try:
            ours = {"spec": json.dumps(self.spec.as_dict(), sort_keys=True), "total_steps": self.total_steps}
            for key, value in ours.items():
                if state[key] != value:
                    raise MismatchError(
                        f"the checkpoint was written with {key} {state[key]}, this run has {value}; delete it to "
                        "start again"
                    )
            if not math.isclose(state["scale"], self.scale, rel_tol=1e-3):
                raise MismatchError(
                    f"the checkpoint is of activations of another size (scale {state['scale']:.6g}, here "
                    f"{self.scale:.6g}); delete it to start again"
                )
            with torch.no_grad():
                for name, tensor in self.weights.tensors().items():
                    tensor.copy_(state["weights"][name])
                self.silent_tokens.copy_(state["silent_tokens"])
            self._adam.load_state_dict(state["adam"])
            self.scale = float(state["scale"])
            self.step_count, self.tokens_seen = int(state["step_count"]), int(state["tokens_seen"])
        except KeyError as error:
            raise FormatError(f"the checkpoint of an SAE lacks {error}; delete it to start again") from None

    def finish(self, metadata: Mapping[str, Any] | None = None) -> SAE:
        """The SAE as it stands, in the activations' own units.

        Parameters
        ----------
        metadata
            What it was made from (model, site, tokens); the spec, steps and tokens seen are added.
        """
        encoder, b_enc, decoder, b_dec = (t.detach().cpu().clone() for t in self.weights.tensors().values())
        return SAE(
            W_enc=encoder.T,
            b_enc=b_enc / self.scale,
            W_dec=decoder,
            b_dec=b_dec / self.scale,
            architecture=self.spec.architecture,
            k=self.spec.k if self.spec.architecture == "topk" else None,
            apply_b_dec_to_input=self.spec.apply_b_dec_to_input,
            scale=self.scale,
            metadata={
                **(metadata or {}),
                "training": {**self.spec.as_dict(), "steps": self.step_count, "tokens_seen": self.tokens_seen},
            },
        )
