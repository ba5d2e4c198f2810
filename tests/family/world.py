"""A world of concepts and two imperfect dictionaries of it, whose edges and kinds are known.

Each concept has a direction and fires on 1% of the tokens. Both dictionaries read the same activations, each with
errors of its own: strengths are off by 20%, a tenth of the firings is missed, some are spurious, decoder rows noisy.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

N_TOKENS, D_IN = 20_000, 256
PERSIST, SPLIT, MERGE, NOVEL, ABSORBED = 15, 15, 10, 12, 8
PARTS = 3


@dataclass(eq=False)
class World:
    """Activations [n_tokens, D_IN]; of both dictionaries the features' activations and decoder rows; and the truth."""

    rng: np.random.Generator
    activations: npt.NDArray[np.float64] = field(init=False)
    x: tuple[list, list] = field(default_factory=lambda: ([], []))
    decoder: tuple[list, list] = field(default_factory=lambda: ([], []))
    edges: dict[tuple[int, int], str] = field(default_factory=dict)
    status: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.activations = 0.02 * self.rng.standard_normal((N_TOKENS, D_IN))
        for _ in range(PERSIST):
            self._persist()
        for _ in range(SPLIT):
            self._split()
        for _ in range(MERGE):
            self._merge()
        for _ in range(NOVEL):
            self.status[self._read(1, *self._concept())] = "novel"
        for _ in range(ABSORBED):
            self._absorb()

    def dictionary(self, side: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Activations [n_tokens, n_features] and decoder rows of one side."""
        return np.stack(self.x[side], axis=1).astype(np.float32), np.stack(self.decoder[side]).astype(np.float32)

    def _persist(self) -> None:
        strength, direction = self._concept()
        self.edges[self._read(0, strength, direction), self._read(1, strength, direction)] = "persists"

    def _split(self) -> None:
        """One feature for the concept, then one for each of its parts, which have something of their own."""
        strength, direction = self._concept(write=False)
        part = self.rng.integers(0, PARTS, N_TOKENS)
        parent = self._read(0, strength, direction)
        for k in range(PARTS):
            own = _unit(direction + 0.8 * self._direction())
            here = np.where(part == k, strength, 0)
            self.activations += np.outer(here, own)
            self.edges[parent, self._read(1, here, own)] = "splits into"

    def _merge(self) -> None:
        """Two features that have much in common, then one for what they have in common."""
        shared = self._direction()
        both = np.zeros(N_TOKENS)
        parents = []
        for _ in range(2):
            strength, _ = self._concept(write=False)
            own = _unit(shared + 0.8 * self._direction())
            self.activations += np.outer(strength, own)
            both = np.maximum(both, strength)
            parents.append(self._read(0, strength, own))
        child = self._read(1, both, shared)
        self.edges |= {(parent, child): "merges into" for parent in parents}

    def _absorb(self) -> None:
        """A concept with a special case: the narrow feature is silent on it, a wide one owns it."""
        strength, direction = self._concept(write=False)
        special = self.rng.random(N_TOKENS) < 0.4
        usual, case = np.where(special, 0, strength), np.where(special, strength, 0)
        own = _unit(direction + 0.8 * self._direction())
        self.activations += np.outer(usual, direction) + np.outer(case, own)
        self.edges[self._read(0, usual, direction), self._read(1, usual, direction)] = "persists"
        self.status[self._read(1, case, own)] = "absorbed"

    def _concept(self, write: bool = True) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        strength = np.where(self.rng.random(N_TOKENS) < 0.01, self.rng.gamma(4, 0.25, N_TOKENS), 0)
        direction = self._direction()
        if write:
            self.activations += np.outer(strength, direction)
        return strength, direction

    def _direction(self) -> npt.NDArray[np.float64]:
        return _unit(self.rng.standard_normal(D_IN))

    def _read(self, side: int, strength: npt.NDArray[np.float64], direction: npt.NDArray[np.float64]) -> int:
        """A feature of one side that reads this, with errors; returns its place."""
        error = self.rng.normal(1, 0.2, N_TOKENS).clip(0.1)
        missed = self.rng.random(N_TOKENS) < 0.1
        spurious = (self.rng.random(N_TOKENS) < 0.0005) * 0.3
        self.x[side].append(np.where(missed, 0, strength * error) + spurious)
        self.decoder[side].append(_unit(direction + 0.3 * self._direction()))
        return len(self.x[side]) - 1


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vector / np.linalg.norm(vector)
