"""Training of sparse autoencoders: one, a grid from one token stream, or several processes."""
