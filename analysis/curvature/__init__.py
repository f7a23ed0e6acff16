"""Second derivatives of the loss: eigenpairs by Lanczos, trace by Hutchinson, density by Lanczos quadrature."""
