"""Matryoshka: one dictionary whose first features are a dictionary by themselves, at several nested widths.

    a = ReLU(TopK_{k·n}(W_enc (x − b_dec) + b_enc)),    x̂_w = Σ_{f < w} a_f W_dec[f] + b_dec
    loss = Σ_w mean squared error of x̂_w + aux_weight · AuxK of the full reconstruction

The sum runs over the nested widths w and d_sae. General features come first, since they must serve every prefix, and
need not split when the dictionary grows. Selection is that of BatchTopK, with its threshold for the trained SAE, so
that whether a feature fires does not depend on the features after it: cut at a nested width (`SAE.prefix`), an SAE
gives the first columns of the codes of the whole SAE. TopK per token would not.

Bussmann et al. 2025, *Learning Multi-Level Features with Matryoshka Sparse Autoencoders*.
"""

from __future__ import annotations

from dataclasses import dataclass

from universality.sae.architectures.batchtopk import BatchTopK


@dataclass(frozen=True)
class Matryoshka(BatchTopK):
    """BatchTopK whose prefixes reconstruct on their own; the module states the equations."""

    nested: tuple[int, ...] = ()

    def prefixes(self, d_sae: int) -> tuple[int, ...]:
        """The nested widths, then d_sae."""
        return (*self.nested, d_sae)
