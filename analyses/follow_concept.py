"""What happens to one concept as the dictionary grows, in every model of a run?

    python analyses/follow_concept.py --kind hebrew [--run RUN]
    python analyses/follow_concept.py --token " def"
    python analyses/follow_concept.py --feature A/512/17

A kind of text or a token is followed from the feature of the narrowest dictionary that detects it best: by F1 for a
kind, by its share of the feature's activation for a token. A feature of one model is followed in the others from its
partner. The script reads a finished run (default runs/quickstart) and prints each feature with its children.
"""

import argparse
import sys
from pathlib import Path

import networkx as nx
import numpy as np

from universality import Calibration, Families, FeatureStore
from universality.config import load_config
from universality.features.specificity import specificity
from universality.features.top_tokens import token_strings
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.write_exports import decoder

Node = tuple[int, int]

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
what = parser.add_mutually_exclusive_group(required=True)
what.add_argument("--kind", help="a kind of text, such as hebrew")
what.add_argument("--token", help="one token with its leading space, if any")
what.add_argument("--feature", help="model/width/feature, such as A/512/17")
parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="a finished run")
parser.add_argument("--most", type=int, default=6, help="number of children shown for each feature")
options = parser.parse_args()
folder, config = RunFolder(options.run), load_config(options.run / "config.yaml")
widths, seed, names = config.saes.widths, config.saes.seeds[0], config.models.names
decode = decoder(folder)


def open_stores(name: str) -> list[FeatureStore]:
    return [FeatureStore.open(folder.store(name, width, seed)) for width in widths]


def start_of_kind(stores: list[FeatureStore]) -> Node:
    best = specificity(stores[0]).best().set_index("kind")["feature"]
    if options.kind not in best.index:
        sys.exit(f"no kind {options.kind!r} in {stores[0].path}; available: {', '.join(best.index)}")
    return 0, int(best[options.kind])


def start_of_token(stores: list[FeatureStore]) -> Node:
    """Return the feature of the narrowest dictionary with the largest share of its activation on the token."""
    store = stores[0]
    strings = np.array(decode(range(int(store.tokens.token.max()) + 1)), dtype=object)
    rows = np.flatnonzero(np.isin(store.tokens.token, np.flatnonzero(strings == options.token)))
    if not rows.size:
        sys.exit(f"token {options.token!r} does not occur in {store.path}; give it with its leading space, if any")
    on_token = np.asarray(store.csr()[rows].sum(axis=0)).ravel()
    return 0, int((on_token / np.maximum(store.moments().sum, 1e-12)).argmax())


def start_of_feature(name: str) -> Node | None:
    """Return the feature itself in its own_side model, and its partner in another; None without a partner."""
    owner, width, feature = options.feature.split("/")
    if owner not in names or int(width) not in widths or not 0 <= int(feature) < int(width):
        sys.exit(f"--feature {options.feature}: expected model/width/feature with models {names} and widths {widths}")
    level = widths.index(int(width))
    if name == owner:
        return level, int(feature)
    a, b = sorted((owner, name), key=names.index)
    matching = Calibration.load(folder.calibration(f"{a}-{b}.w{width}")).match
    own_side, other_side = (matching.rows, matching.cols) if owner == a else (matching.cols, matching.rows)
    partner = other_side[own_side == int(feature)]
    return (level, int(partner[0])) if partner.size else None


def show(
    graph: nx.DiGraph, stores: list[FeatureStore], node: Node, depth: int = 0, seen: set[Node] | None = None
) -> None:
    """Print a feature, then its children, heaviest first; a feature that was shown already is only named."""
    seen = set() if seen is None else seen
    values, again = graph.nodes[node], node in seen
    (tokens,) = token_strings(stores[node[0]], [node[1]], 5, decode)
    facts = f"{values['label']:<12} {values['density']:7.2%} of tokens, {values['purity']:.0%} {values['kind']}"
    print(f"{'  ' * depth}{facts:<48} {values['status']:<9}{'shown above' if again else '  '.join(map(repr, tokens))}")
    if again:
        return
    seen.add(node)
    children = sorted(graph.successors(node), key=lambda child: -graph.edges[node, child]["weight"])
    for child in children[: options.most]:
        edge = graph.edges[node, child]
        print(f"{'  ' * (depth + 1)}{edge['kind']} (weight {edge['weight']:.2f}, coverage {edge['coverage']:.2f})")
        show(graph, stores, child, depth + 1, seen)
    if len(children) > options.most:
        print(f"{'  ' * (depth + 1)}… and {len(children) - options.most} more")


for name in names:
    stores = open_stores(name)
    if options.feature:
        start = start_of_feature(name)
    else:
        start = start_of_kind(stores) if options.kind else start_of_token(stores)
    print(f"\nModel {name}")
    if start is None:
        print("  the feature has no partner here")
        continue
    show(Families.load(folder.families(name)).graph, stores, start)
