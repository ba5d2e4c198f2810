"""Nodes carry what is documented of them."""

from numpy.testing import assert_allclose

from universality.family import Families


def test_nodes_say_what_they_are(planted: Families, plants: tuple) -> None:
    graph = planted.graph
    assert graph.number_of_nodes() == sum(len(p.sets) for p in plants)
    for (level, j), values in graph.nodes(data=True):
        plant = plants[level]
        assert values["width"] == len(plant.sets)
        assert values["label"] == f"{len(plant.sets)}/{j}"
        assert values["count"] == (plant.x[:, j] > 0).sum()
        assert values["alive"]
        assert_allclose(values["density"], values["count"] / len(plant.x))
        assert_allclose(values["max_activation"], plant.x[:, j].max())
        known_below = level > 0 and any(plant.sets[j] & other for other in plants[level - 1].sets)
        assert values["status"] == ("root" if level == 0 else "child" if known_below else "novel")
        assert values["kind"] in {"k0", "k1", "k2"}
        assert 1 / 3 <= values["purity"] < 0.5
        assert values["n_parents"] == graph.in_degree((level, j))
        assert values["n_children"] == graph.out_degree((level, j))
