"""Do features that fire alike also write alike?

    python analyses/activation_against_logits.py [RUN [COMPARISON]]

Compares, for pairs matched by activation correlation, their direct effects on the logits (logit-weight correlation).
Bricken et al. (2023) found that the two can disagree: a pair with activation r 0.98 had a negative logit r. Then the
features are matched by logit weights, which stand beside chance, and partners by both measures are compared.
"""

from comparison import open_comparison
from scipy.stats import spearmanr

from universality import FeatureStore, Similarity, calibrate
from universality.corpus import TokenBlocks, load_tokenizer
from universality.models.vocabulary import Vocabulary
from universality.statistics import coincidence


def text_of_types(store: FeatureStore) -> Vocabulary | None:
    """Text and frequency of the run's token types, which stores hold only where models have tokenizers of their own."""
    corpus, unembedding = store.path.parent.parent / "corpus", store.unembedding()
    if unembedding is None or unembedding.vocabulary or not (corpus / "tokenizer.json").is_file():
        return None
    train = TokenBlocks.load(corpus / "blocks.npz").select("train")
    return Vocabulary.of(load_tokenizer(corpus / "tokenizer.json"), train, unembedding.d_vocab)


name, a, b, calibration = open_comparison()
frame = calibration.to_frame()
frame["logit"] = Similarity.logit(a, b).pairs(frame["row"], frame["col"])
scored = frame.dropna(subset=["held_out"])
rank = spearmanr(scored["held_out"], scored["logit"])[0]
print(f"{name}: {len(scored)} of {len(frame)} pairs scored, rank correlation of the two measures {rank:.2f}")
for low, high in [(0.9, 1.01), (0.7, 0.9), (0.5, 0.7), (0.3, 0.5), (-1, 0.3)]:
    logit = scored[(scored["held_out"] >= low) & (scored["held_out"] < high)]["logit"]
    if len(logit):
        span = f"activation r in [{low:4.1f}, {min(high, 1):3.1f})"
        print(
            f"{span}: {len(logit):5d} pairs, median logit r {logit.median():5.2f}, negative in {(logit < 0).mean():.0%}"
        )

by_logit = calibrate(a, b, measure="logit", vocabulary=text_of_types(a))
summary = by_logit.summary()
low, high = summary.median_ci
print(f"\nmatched by logit weights, over {by_logit.notes[0]}:")
print(f"median r on held-out token types {summary.held_out_median:.3f} [{low:.3f}, {high:.3f}]")
for null, chance in summary.nulls.items():
    print(f"null {null:10s}: median {chance.median:.3f}, q <= 0.05 for {chance.share_significant:.1%} of features")
found = coincidence(calibration.match, by_logit.match, b.moments().count)
print(
    f"same partner by activation and by logit weights: {found.n_same} of {found.n} "
    f"({found.share:.1%} [{found.low:.1%}, {found.high:.1%}]); "
    f"expected {found.by_chance:.2%} at random, {found.by_firings:.2%} among features that fire as often"
)
