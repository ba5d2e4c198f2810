"""Paths inside a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run's folder.

    Examples
    --------
    >>> folder = RunFolder(Path("runs/quickstart"))
    >>> folder.store("A", 512, 0).as_posix()
    'runs/quickstart/features/A.w512-s0.h5'
    """

    root: Path

    @property
    def input_hashes(self) -> Path:
        """Remembered hashes of large files that the run was made from."""
        return self.root / ".inputs.json"

    @property
    def blocks(self) -> Path:
        """Token blocks."""
        return self.root / "corpus" / "blocks.npz"

    @property
    def tokenizer(self) -> Path:
        """Tokenizer of the token blocks."""
        return self.root / "corpus" / "tokenizer.json"

    def own_blocks(self, name: str) -> Path:
        """Blocks in a model's own tokens, where tokenizers differ; ``blocks`` then holds segments."""
        return self.root / "corpus" / f"blocks.{name}.npz"

    def own_tokenizer(self, name: str) -> Path:
        """Tokenizer of a model's own blocks."""
        return self.root / "corpus" / f"tokenizer.{name}.json"

    @property
    def segments(self) -> Path:
        """Text of each segment."""
        return self.root / "corpus" / "segments.json"

    @property
    def corpus_summary(self) -> Path:
        """Tokens by split, and the losses of counting models."""
        return self.root / "corpus" / "summary.json"

    def model(self, name: str) -> Path:
        """A trained model, or the record of where a loaded one came from."""
        return self.root / "models" / name

    def overlap(self, name: str) -> Path:
        """Number of held-out documents that a model was trained on."""
        return self.model(name) / "held_out_documents.json"

    def sae(self, model: str, width: int, seed: int) -> Path:
        """One SAE."""
        return self.root / "saes" / model / f"w{width}-s{seed}"

    def store(self, model: str, width: int, seed: int) -> Path:
        """Store of the features of one SAE."""
        return self.root / "features" / f"{model}.w{width}-s{seed}.h5"

    def neurons(self, model: str) -> Path:
        """Store of the activations at the hook themselves, on a sample of the documents."""
        return self.root / "features" / f"{model}.neurons.h5"

    def calibration(self, comparison: str) -> Path:
        """Partners by activation correlation, with held-out scores and null distributions."""
        return self.root / "matches" / f"{comparison}.activation.npz"

    def logit_calibration(self, comparison: str) -> Path:
        """Partners by logit weights, chosen on half of the token types, with held-out scores and null distributions."""
        return self.root / "matches" / f"{comparison}.logit.npz"

    def decoder_match(self, comparison: str) -> Path:
        """Partners by decoder rows, for models that share a basis."""
        return self.root / "matches" / f"{comparison}.decoder.npz"

    def effect_calibration(self, comparison: str) -> Path:
        """Partners by first-order effects over all tokens, with held-out scores and null distributions."""
        return self.root / "matches" / f"{comparison}.effect.npz"

    def similarity(self, comparison: str) -> Path:
        """Similarities from which the figures of a comparison are drawn."""
        return self.root / "similarity" / f"{comparison}.npz"

    def families(self, model: str) -> Path:
        """Family graph of one model's dictionaries."""
        return self.root / "families" / f"{model}.json"

    def map(self, name: str) -> Path:
        """Map of a dictionary, by the base name of its store, or of a comparison."""
        return self.root / "maps" / f"{name}.npz"

    def effects(self, model: str, width: int, seed: int) -> Path:
        """Store of the first-order effects of one SAE's features."""
        return self.root / "effects" / f"{model}.w{width}-s{seed}.h5"

    def neuron_effects(self, model: str) -> Path:
        """Store of the first-order effects of the activations at the hook themselves."""
        return self.root / "effects" / f"{model}.neurons.h5"

    def effect_activations(self, model: str, width: int, seed: int) -> Path:
        """Store of one SAE's activations on the tokens of its effects."""
        return self.root / "effects" / f"{model}.w{width}-s{seed}.activations.h5"

    def neuron_effect_activations(self, model: str) -> Path:
        """Store of the activations at the hook themselves on the tokens of their effects."""
        return self.root / "effects" / f"{model}.neurons.activations.h5"

    def gradient_norms(self, model: str) -> Path:
        """Store of the norm of the loss gradient at the tokens of ``effects``."""
        return self.root / "effects" / f"{model}.gradient_norms.h5"

    def neuron_gradient_norms(self, model: str) -> Path:
        """Store of the norm of the loss gradient at the tokens of ``neuron_effects``."""
        return self.root / "effects" / f"{model}.neurons.gradient_norms.h5"

    def exact_effects(self, model: str) -> Path:
        """Exact effects of a sample of firings of the headline SAE, beside the first-order ones."""
        return self.root / "effects" / f"{model}.exact.npz"

    def fingerprints(self, model: str, width: int, seed: int) -> Path:
        """Ablation fingerprints of one SAE's features."""
        return self.root / "effects" / f"{model}.w{width}-s{seed}.ablation.npz"

    def shared_loss(self, model: str) -> Path:
        """Loss that a model's shared features recover, against random subsets and a second SAE."""
        return self.root / "effects" / f"{model}.shared_loss.json"

    def effect_agreement(self, comparison: str) -> Path:
        """Agreement of the partners' effects, against chance, controls and ceilings."""
        return self.root / "effects" / f"{comparison}.agreement.npz"

    def family_effects(self, model: str, narrow: int, wide: int) -> Path:
        """Agreement of the effects of parents and children in one model's families, from one width to the next."""
        return self.root / "effects" / f"{model}.w{narrow}-w{wide}.families.npz"

    def pair_effects(self, comparison: str) -> Path:
        """Tokens that the two features of a pair raise and lower when ablated and clamped where both fire."""
        return self.root / "effects" / f"{comparison}.pairs.npz"

    def unmeasured_effects(self, name: str) -> Path:
        """JSON: what of the effects of a model, or of a comparison, could not be measured → the reason."""
        return self.root / "effects" / f"{name}.unmeasured.json"

    def labels(self, store: Path) -> Path:
        """Labels of the features of a store of ``features/``."""
        return self.root / "labels" / f"{store.stem}.jsonl"

    def label_transfer(self, comparison: str) -> Path:
        """Scores of one side's explanations on the other side's features."""
        return self.root / "labels" / f"{comparison}.transfer.npz"

    def label_specificity(self, store: Path) -> Path:
        """Share of the firings of a store's features at which their explanations hold."""
        return self.root / "labels" / f"{store.stem}.specificity.npz"

    def label_literature(self, comparison: str) -> Path:
        """Published concepts, and the features of a comparison that they were found in."""
        return self.root / "labels" / f"{comparison}.literature.json"

    @property
    def label_answers(self) -> Path:
        """Answers of the language models that wrote and scored labels."""
        return self.root / "labels" / "answers.jsonl"

    @property
    def report(self) -> Path:
        """Main page of the report."""
        return self.root / "report" / "index.html"
