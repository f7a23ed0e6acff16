"""Sharpness: how much the loss rises when the weights are perturbed, at worst and on average."""
