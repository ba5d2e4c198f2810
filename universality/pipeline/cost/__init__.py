"""What a run will cost: the estimate of each stage, and what this machine does in a second."""
