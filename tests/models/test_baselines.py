from collections import Counter, defaultdict

import numpy as np
from numpy.testing import assert_allclose

from universality.corpus import DocumentTable, cut_blocks
from universality.models.baselines import baselines


def test_equals_counting_by_hand() -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, 8, 30).tolist() for _ in range(4)]
    names = tuple("abcd")
    table = DocumentTable(id=names, kind=names, group=names, split=("train", "train", "choose", "report"))
    blocks = cut_blocks(documents, table, n_ctx=6, bos_id=0, d_vocab=9)
    train, held_out = blocks.select("train"), blocks.select("choose", "report")

    def pairs(part):
        for row, length in zip(part.tokens, part.length, strict=True):
            yield from zip(row[: length - 1].tolist(), row[1:length].tolist(), strict=True)

    followers: dict[int, Counter] = defaultdict(Counter)
    for v, w in pairs(train):
        followers[v][w] += 1
    total = sum(followers.values(), Counter())
    n, types = total.total(), len(total)

    def p(w):
        return (total[w] + types / 9) / (n + types)

    def p2(v, w):
        seen = followers[v]
        return (seen[w] + len(seen) * p(w)) / (seen.total() + len(seen)) if seen else p(w)

    found = baselines(train, held_out)
    assert_allclose(found.unigram, -np.mean([np.log(p(w)) for _, w in pairs(held_out)]))
    assert_allclose(found.bigram, -np.mean([np.log(p2(v, w)) for v, w in pairs(held_out)]))
    assert_allclose(sum(p(w) for w in range(9)), 1)
    assert_allclose([sum(p2(v, w) for w in range(9)) for v in range(9)], 1)
