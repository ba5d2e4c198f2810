"""Language models of a study: train, load, and what they write to the vocabulary."""
