"""The arithmetic of sparse autoencoders: encoding, gradients by dense products or by (indices, values)."""
