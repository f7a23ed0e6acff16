"""Symmetric matrices beside the Hessian, known by their products: Gauss-Newton, Fisher, covariance, and parts."""
