"""The sparse decoder against matrix products."""

from __future__ import annotations

import numpy as np
import torch
from torch.testing import assert_close

from universality.sae.compute.selection import largest
from universality.sae.compute.sparse_decoder import FeatureOrder, SparseRows, decode
from universality.sae.compute.weights import Weights


def test_reconstruction_and_gradients_are_the_dense_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    pre, decoder, targets, inputs = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((700, 30), (30, 8), (700, 8), (700, 8))
    )
    codes = largest(pre, 4)
    weights = Weights(decoder, torch.zeros(30), decoder, torch.zeros(8))
    decoded = decode(codes, codes.values, weights, targets, (10, 30), factor=0.5)
    acts = torch.from_numpy(codes.csr().toarray())
    errors = [acts[:, :width] @ decoder[:width] - targets for width in (10, 30)]
    assert_close(torch.from_numpy(decoded.squared_errors), torch.stack([error.square().sum() for error in errors]))
    assert_close(decoded.output_grad[1], 0.5 * errors[1])
    assert_close(decoded.output_grad[0], 0.5 * (errors[0] + errors[1]), msg="the first features are in both prefixes")
    order = FeatureOrder.of(codes)
    assert_close(order.sums(torch.from_numpy(codes.values)), acts.sum(dim=0))
    rows = SparseRows(order, codes.values, np.ones_like(codes.values), decoded.output_grad, inputs, decoded.prefixes)
    part = slice(7, 21)  # across the border of the prefixes
    encoder_grad, decoder_grad = torch.zeros(14, 8).double(), torch.zeros(14, 8).double()
    rows(part, encoder_grad, decoder_grad)
    assert_close(encoder_grad, ((acts > 0).double().T @ inputs)[part])
    expected = torch.cat([acts[:, :10].T @ decoded.output_grad[0], acts[:, 10:].T @ decoded.output_grad[1]])
    assert_close(decoder_grad, expected[part])
