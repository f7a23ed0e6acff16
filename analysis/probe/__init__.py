"""The training probe: curvature, noise and sharpness while a network is trained, without touching the training."""
