"""Training of one SAE: one step on each batch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.errors import FormatError, MismatchError, ModelError
from universality.sae.activation_summary import SAME_ROWS, ActivationSummary, summarise
from universality.sae.architectures import BUILT_IN, build_architecture
from universality.sae.architectures.batchtopk import RunningThreshold
from universality.sae.compute.batch_gradients import FEATURES_A_TASK, Batch, Step
from universality.sae.compute.dispatch import gradients
from universality.sae.compute.sparse_sums import EntryRows
from universality.sae.compute.triton_choice import uses_kernels
from universality.sae.compute.weights import own_parameters
from universality.sae.compute.workers import one_core, ranges, share_out
from universality.sae.normalisation import normalised
from universality.sae.sae import SAE
from universality.sae.training.adam import Adam
from universality.sae.training.dead_features import DeadFeatures
from universality.sae.training.initialisation import initial_weights
from universality.sae.training.resampling import MOST_INPUTS, WINDOW_STEPS, Reservoir, resample
from universality.sae.training.spec import SAESpec

SMALLEST_ERROR = 1e-6
"""Mean squared error, in units of the activations' mean square, below which float32 rounding dominates."""


class SAETrainer:
    """An SAE in training, on the device of its sample.

    Activations are scaled to a mean squared norm of d_in; a far centre is subtracted first (see `ActivationSummary`).
    Before each step of Adam the component of the gradient along each decoder row is removed, and after it the rows are
    scaled back to unit norm (Bricken et al. 2023). Adam gets the gradient of the logarithm of the mean squared error:
    the plain gradient shrinks quickly as the error falls, while Adam still remembers the large early ones, so steps
    would become too small. The same spec, sample and batches give the same bytes, alone or in a grid, for any number of
    threads.

    Parameters
    ----------
    spec
        Architecture, seed and settings.
    sample : [n_tokens, d_in]
        Some thousand activations of the model, or their summary (`summarise`), which SAEs of one model may share.
    total_steps
        Number of steps of the learning rate's schedule.

    Raises
    ------
    ModelError
        If nothing can be learnt from the sample.
    MismatchError
        If a summary was made with another normalisation or exclusion of tokens than the spec's.

    Examples
    --------
    >>> import torch
    >>> from universality.sae import SAESpec, SAETrainer
    >>> activations = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    >>> trainer = SAETrainer(SAESpec(64, k=4), activations, total_steps=10)
    >>> for batch in activations.split(200):
    ...     numbers = trainer.step(batch, report=True)
    >>> sae = trainer.finish({"hook": "blocks.0.hook_mlp_out"})
    >>> int(sae.encode(activations).getnnz(axis=1).max())
    4
    """

    def __init__(
        self, spec: SAESpec, sample: Tensor | NDArray[np.floating] | ActivationSummary, total_steps: int
    ) -> None:
        if total_steps < 1:
            raise ModelError(f"total_steps must be at least 1, found {total_steps}")
        self.spec, self.total_steps = spec, total_steps
        summary = self._summary(sample)
        self.scale = summary.scale
        self.shift = summary.centre.to(torch.float32) if summary.far else None
        """Vector [d_in] that is subtracted from activations before they are scaled; None if the centre is near 0."""
        self.centre = summary.centre.to(torch.float32)
        """Geometric median [d_in] of the sample, from which distances are measured."""
        self.longest = summary.longest
        """Distance beyond which tokens are left out; None leaves out none."""
        self.scale_without_outlying = summary.dominant
        self.tokens_left_out = 0
        self.d_in = summary.centre.numel()
        self.step_count = 0
        self.tokens_seen = 0
        self.architecture = build_architecture(spec.architecture, spec.as_dict())
        self.weights = initial_weights(
            spec.d_sae,
            summary,
            spec.seed,
            self.architecture.initial_threshold,
            match_size=self.architecture.adaptive,
            parameters=own_parameters(self.architecture, spec.d_sae),
        )
        self.device = self.weights.b_dec.device
        self.silent_tokens = torch.zeros(spec.d_sae, dtype=torch.int64, device=self.device)
        self._dead_features = DeadFeatures(self.device)
        self.running_threshold = RunningThreshold(self.device)
        self._adam = Adam(self.weights.tensors(), spec.beta1, spec.beta2, spec.epsilon)
        self._resample_steps = sorted({round(share * total_steps) for share in spec.resample_at})
        self._reservoir = Reservoir(self.d_in, min(spec.d_sae, MOST_INPUTS), self.device)

    def _summary(self, sample: Tensor | NDArray[np.floating] | ActivationSummary) -> ActivationSummary:
        """Summarise the sample, or check that a summary was made as the spec requires."""
        asked = self.spec.normalize_activations, self.spec.max_norm_ratio
        summary = sample if isinstance(sample, ActivationSummary) else summarise(sample, *asked)
        if (given := (summary.normalize_activations, summary.max_norm_ratio)) != asked:
            raise MismatchError(
                f"the spec asks for normalize_activations, max_norm_ratio = {asked}, the summary of the activations "
                f"was made with {given}; pass both to summarise(...)"
            )
        return summary

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step: linear warm-up, the peak, linear decay to 0 after the last step."""
        warmup = self.spec.warmup_share * self.total_steps
        decay = self.spec.decay_share * self.total_steps
        rise = (self.step_count + 1) / warmup if warmup else 1.0
        fall = (self.total_steps - self.step_count) / decay if decay else 1.0
        return self.spec.peak_rate * max(0.0, min(1.0, rise, fall))

    @property
    def penalty_share(self) -> float:
        """Share of the penalty's weight at the next step, which rises linearly to 1."""
        warmup = self.spec.penalty_warmup_share * self.total_steps
        return min(1.0, (self.step_count + 1) / warmup) if warmup else 1.0

    @torch.no_grad()
    def step(self, batch: Tensor | NDArray[np.floating], report: bool = False) -> dict[str, float]:
        """Learn from a batch.

        Parameters
        ----------
        batch : [n_tokens, d_in]
            Activations, in their own units.
        report
            Whether to return numbers, for which the CPU waits for a GPU.

        Returns
        -------
        dict
            Empty without ``report``. Otherwise ``loss``, ``explained_variance`` and ``l0`` of this batch before the
            step, ``typical_explained_variance`` (see `universality.sae.typical_token`), ``dead_share`` and
            ``learning_rate``.

        Raises
        ------
        MismatchError
            If the batch has another width than the sample.
        ModelError
            If the loss is NaN or infinite; on a GPU only where a report is requested.
        """
        batch = torch.as_tensor(batch)
        if batch.ndim != 2 or batch.shape[1] != self.d_in or batch.shape[0] < 1:
            raise MismatchError(
                f"expected a batch of activations [n_tokens, {self.d_in}], as in the sample, "
                f"found shape {tuple(batch.shape)}"
            )
        with one_core():
            x = self._scaled(batch)
            parts = Batch.of(x, self.weights.b_dec, self.spec.apply_b_dec_to_input)
            dead = self._dead()
            architecture = self.architecture.scheduled(self.penalty_share, self.step_count / self.total_steps)
            step = gradients(architecture, self.weights, parts, dead, getattr(torch, self.spec.products))
            rate = self.learning_rate
            if report or self.device.type == "cpu":  # without a report a GPU need not be waited for
                self._check(step)
            numbers = self._numbers(step, x, rate) if report else {}
            self._count(step, len(x))  # before the update, see `DeadFeatures`
            self._update(step, rate)
            self._draw_anew(step, x)
        return {**numbers, "dead_share": len(dead) / self.spec.d_sae} if report else {}

    def _scaled(self, batch: Tensor) -> Tensor:
        """Prepare a batch: normalise tokens, leave out outlying ones, subtract a far centre, scale."""
        x = normalised(batch.to(self.device, torch.float32), self.spec.normalize_activations)
        if self.longest is not None:
            distance = torch.linalg.vector_norm(x - self.centre, dim=1)
            ordinary = distance <= max(self.longest, float(distance.min()))  # at least one, since no batch may be empty
            self.tokens_left_out += len(x) - int(ordinary.sum())
            x = x[ordinary]
        return (x if self.shift is None else x - self.shift) * self.scale

    def _dead(self) -> Tensor:
        """Features that have been silent for `SAESpec.dead_after_tokens` [n_dead], rising."""
        return self._dead_features.positions()

    def _mark_dead(self) -> None:
        self._dead_features.mark(self.silent_tokens >= self.spec.dead_after_tokens)

    def _update(self, step: Step, rate: float) -> None:
        """Take one step of Adam, with decoder rows kept on the unit sphere."""
        weights, adam, count = self.weights, self._adam, self.step_count
        # Division by the error makes the gradient that of its logarithm; the bound keeps steps finite once nothing is
        # left to reconstruct.
        per_error = self._mean_squared_error(step).clamp_min(SMALLEST_ERROR).reciprocal().float()

        # A few features at a time go from gradient through Adam to the norm while their rows are in the cache.
        def learn(part: slice) -> None:
            encoder_grad, decoder_grad = step.rows_of(part, weights.W_dec)
            decoder = weights.W_dec[part]
            if self._decay:
                encoder_grad.add_(weights.W_enc[part], alpha=self._decay)
            adam.update("W_enc", encoder_grad.mul_(per_error), rate, count, part)
            if self.spec.train_decoder:
                # A component along the row would be undone by the norm below, but stay in Adam's moments.
                decoder_grad.addcmul_(torch.linalg.vecdot(decoder_grad, decoder)[:, None], decoder, value=-1)
                adam.update("W_dec", decoder_grad.mul_(per_error), rate, count, part)
                decoder.div_(torch.linalg.vector_norm(decoder, dim=1, keepdim=True))

        d_sae = self.spec.d_sae
        if uses_kernels(weights.W_dec):
            self._learn_by_kernels(step, per_error, rate)
        else:
            share_out(learn, ranges(d_sae, FEATURES_A_TASK if self.device.type == "cpu" else d_sae))
        adam.update("b_enc", step.b_enc * per_error, rate, count)
        adam.update("b_dec", step.b_dec * per_error, rate, count)
        if step.log_threshold is not None:
            adam.update("log_threshold", step.log_threshold * per_error, rate, count)
        for name, gradient in step.parameters.items():
            adam.update(name, gradient * per_error, rate, count)
        self.step_count += 1

    def _learn_by_kernels(self, step: Step, per_error: Tensor, rate: float) -> None:
        """Do the same in one pass over each matrix and its moments."""
        # The gradient of one batch's entries is summed within that pass; what else there is (dense, AuxK) before it.
        entries = next((rows for rows in step.rows if isinstance(rows, EntryRows)), None)
        others = tuple(rows for rows in step.rows if rows is not entries)
        encoder = decoder = None
        if others:
            encoder, decoder = replace(step, rows=others).rows_of(slice(0, self.spec.d_sae), self.weights.W_dec)
        of_encoder, of_decoder = (entries.encoder, entries.decoder) if entries else (None, None)
        self._adam.update_rows(
            "W_enc", encoder, of_encoder, per_error, rate, self.step_count, unit=False, decay=self._decay
        )
        if self.spec.train_decoder:
            self._adam.update_rows("W_dec", decoder, of_decoder, per_error, rate, self.step_count, unit=True)

    def _mean_squared_error(self, step: Step) -> Tensor:
        """Mean squared error of the batch before the step."""
        squared = torch.as_tensor(step.squared_error, dtype=torch.float64, device=self.device)
        return squared / step.output_grad.numel()

    def _count(self, step: Step, n_tokens: int) -> None:
        self.tokens_seen += n_tokens
        self.silent_tokens += n_tokens
        self.silent_tokens.masked_fill_(step.firings > 0, 0)
        self._mark_dead()
        if step.lowest is not None:
            self.running_threshold.add(step.lowest)

    def _draw_anew(self, step: Step, x: Tensor) -> None:
        """Resample dead features at the steps set for it; store inputs during the steps before one."""
        now = self.step_count
        following = next((at for at in self._resample_steps if at >= now), None)
        if following is None or following - now >= WINDOW_STEPS:
            return
        losses = step.output_grad.square().sum(dim=1, dtype=torch.float64)  # up to a factor that the draw ignores
        self._reservoir.add(x, losses.square(), np.random.default_rng([self.spec.resample_seed, now]))
        if now == following:
            initial = self.architecture.initial_threshold
            changed = resample(
                self.weights,
                self._adam,
                self._dead(),
                self._kept_inputs(),
                log_threshold=0.0 if initial is None else math.log(initial),
                parameters=own_parameters(self.architecture, self.spec.d_sae),
            )
            self.silent_tokens[changed] = 0
            self._mark_dead()
            self._reservoir.clear()

    def _kept_inputs(self) -> Tensor:
        """Inputs for dead features [n_inputs, d_in], in the order in which they were drawn."""
        return self._reservoir.inputs

    def _check(self, step: Step) -> None:
        """Raise if the loss is not finite, before it reaches the weights."""
        if not math.isfinite(step.squared_error):
            raise ModelError(
                f"the squared error of {self.spec} is {float(step.squared_error)} at step {self.step_count}: the "
                "batch holds NaN or infinity, or the learning rate is too high"
            )

    def _numbers(self, step: Step, x: Tensor, rate: float) -> dict[str, float]:
        total, size = float((x - x.mean(dim=0)).square().sum()), float(x.square().sum())
        return {
            "loss": float(step.loss) + self.spec.aux_weight * float(step.auxiliary) + self._weight_penalty(),
            "explained_variance": 1 - float(step.squared_error) / total if total > SAME_ROWS * size else math.nan,
            "typical_explained_variance": self._typical(step, x),
            "l0": float(step.firings.sum()) / len(x),
            "learning_rate": rate,
        }

    @property
    def _decay(self) -> float:
        """Gradient of the penalty on W_enc, as a multiple of W_enc."""
        return 2 * self.spec.weight_decay

    def _weight_penalty(self) -> float:
        """L2 penalty on the encoder before the step."""
        decay = self.spec.weight_decay
        return decay * float(self.weights.W_enc.square().sum(dtype=torch.float64)) if decay else 0.0

    def _typical(self, step: Step, x: Tensor) -> float:
        """Explained variance of the median token of scaled activations."""
        # output_grad is error · 2 / numel: undo the factor
        errors = step.output_grad.square().sum(dim=1, dtype=torch.float64) * (step.output_grad.numel() / 2) ** 2
        centred = x if self.shift is not None else x - self.centre * self.scale
        squares = centred.square().sum(dim=1, dtype=torch.float64)
        return float((1 - errors / squares.clamp_min(torch.finfo(torch.float32).tiny)).median())

    def state_dict(self) -> dict[str, Any]:
        """State from which a resumed training ends in the same bytes; `torch.load(weights_only=True)` can read it."""
        return {
            "spec": json.dumps(self.spec.as_dict(), sort_keys=True),
            "total_steps": self.total_steps,
            "scale": self.scale,
            "step_count": self.step_count,
            "tokens_seen": self.tokens_seen,
            "silent_tokens": self.silent_tokens,
            "weights": self.weights.tensors(),
            "adam": self._adam.state_dict(),
            "running_threshold": self.running_threshold.sums,
            "reservoir": self._reservoir.state_dict(),
            **self._centre_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned.

        Raises
        ------
        MismatchError
            If the state belongs to another spec, schedule or activations.
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
            # Another machine finds the scale of the same sample up to rounding; other activations differ by more.
            if not math.isclose(state["scale"], self.scale, rel_tol=1e-3):
                raise MismatchError(
                    f"the checkpoint belongs to activations of another size (scale {state['scale']:.6g}, here "
                    f"{self.scale:.6g}); delete it to start again"
                )
            d_in = state["weights"]["b_dec"].numel()
            if d_in != self.d_in:
                raise MismatchError(
                    f"the checkpoint belongs to activations of width {d_in}, these are {self.d_in} wide; delete it to "
                    "start again"
                )
            with torch.no_grad():
                for name, tensor in self.weights.tensors().items():
                    tensor.copy_(state["weights"][name])
                self.silent_tokens.copy_(state["silent_tokens"])
            self._mark_dead()
            self._adam.load_state_dict(state["adam"])
            self.running_threshold.sums.copy_(state["running_threshold"])
            self._reservoir.load_state_dict(state["reservoir"])
            self.scale = float(state["scale"])
            self._load_centre(state)
            self.step_count, self.tokens_seen = int(state["step_count"]), int(state["tokens_seen"])
        except KeyError as error:
            raise FormatError(f"the checkpoint of an SAE lacks {error}; delete it to start again") from None

    def _centre_state(self) -> dict[str, Any]:
        """Decisions about a far centre and outlying tokens; empty for ordinary activations."""
        if self.shift is None and self.longest is None and not self.scale_without_outlying:
            return {}
        return {
            "centre": self.centre,
            "far": self.shift is not None,
            "longest": self.longest,
            "tokens_left_out": self.tokens_left_out,
            "scale_without_outlying": self.scale_without_outlying,
        }

    def _load_centre(self, state: Mapping[str, Any]) -> None:
        """Restore `_centre_state`; without it no centre is subtracted and no token left out."""
        if "centre" not in state:
            self.shift, self.longest, self.scale_without_outlying = None, None, False
            return
        self.centre = state["centre"].to(self.device)
        self.shift = self.centre if state["far"] else None
        self.longest, self.tokens_left_out = state["longest"], int(state["tokens_left_out"])
        self.scale_without_outlying = bool(state["scale_without_outlying"])

    def finish(self, metadata: Mapping[str, Any] | None = None) -> SAE:
        """Return the SAE with its current weights, in the activations' own units.

        Parameters
        ----------
        metadata
            Provenance (model, hook, tokens); the spec, steps and tokens seen are added.
        """
        # x_scaled = (x − shift) · scale: dividing biases and thresholds by the scale, and moving the shift into b_dec,
        # gives an SAE that takes x itself. Without a pre-encoder bias the encoder needs the shift in b_enc.
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.weights.tensors().items()}
        b_enc, b_dec = weights["b_enc"] / self.scale, weights["b_dec"] / self.scale
        if self.shift is not None:
            shift = self.shift.cpu()
            b_dec = b_dec + shift
            if not self.spec.apply_b_dec_to_input:
                b_enc = b_enc - weights["W_enc"] @ shift
        return SAE(
            W_enc=weights["W_enc"].T,
            b_enc=b_enc,
            W_dec=weights["W_dec"],
            b_dec=b_dec,
            architecture=self.spec.architecture,
            k=getattr(self.architecture, "k", None),
            threshold=self._threshold(weights.get("log_threshold")),
            nested=self.architecture.prefixes(self.spec.d_sae)[:-1],
            apply_b_dec_to_input=self.spec.apply_b_dec_to_input,
            normalize_activations=self.spec.normalize_activations,
            scale=self.scale,
            metadata={**(metadata or {}), "training": self._record()},
            settings={} if self.spec.architecture in BUILT_IN else asdict(self.architecture),
            parameters={name: weights[name] for name in self.weights.parameters},
        )

    def _record(self) -> dict[str, Any]:
        """Record of the training for the metadata."""
        record: dict[str, Any] = {**self.spec.as_dict(), "steps": self.step_count, "tokens_seen": self.tokens_seen}
        record |= {} if self.longest is None else {"tokens_left_out": self.tokens_left_out}
        decided = {"centre_subtracted": self.shift is not None, "scale_without_outlying": self.scale_without_outlying}
        return record | {name: True for name, engaged in decided.items() if engaged}

    def _threshold(self, log_threshold: Tensor | None) -> Tensor | None:
        """Learnt or measured thresholds [d_sae], in the activations' own units."""
        if log_threshold is not None:
            return log_threshold.exp() / self.scale
        if not self.architecture.has_threshold:
            return None
        return torch.full((self.spec.d_sae,), self.running_threshold.value / self.scale)
