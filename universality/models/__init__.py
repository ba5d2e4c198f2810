"""Language models of a study: training, loading, and their path from the residual stream to the logits."""
