"""Gradient noise: the covariance of per-sample gradients, with and without centralization, against a random control."""
