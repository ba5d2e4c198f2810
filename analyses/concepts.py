"""Do both models have a feature for Hebrew, Arabic script, base64, DNA, Python, …, and are they the same feature?

    python analyses/concepts.py [RUN [COMPARISON]]

For each kind of text: the feature of the first model that detects it best (by the corpus's labels, not by similarity),
its partner in the second model, and their correlation on documents that were not used to choose the pair. Beside it
stand the ceilings of both features: their r with their partners in a second SAE of their own model. Where several
features detect a kind (F1 of at least 0.5), the table also shows the one that both models share most.
"""

from comparison import open_comparison

from universality.statistics import concept_table

_, a, b, calibration = open_comparison()
table = concept_table(a, b, calibration)
table["same as its best"] = table["partner"] == table["own_best"]
columns = [
    "kind",
    "tokens",
    "feature",
    "f1",
    "partner",
    "partner_f1",
    "same as its best",
    "held_out",
    "ci_low",
    "ci_high",
    "ceiling_a",
    "ceiling_b",
    "known_by",
    "most_alike",
    "most_alike_held_out",
]
print(table[columns].to_string(index=False, float_format="{:.2f}".format))
