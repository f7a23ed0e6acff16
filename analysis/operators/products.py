"""Generalized Gauss-Newton, empirical Fisher and covariance of the gradients, as products with vectors.

None of them is ever formed: each product goes through the data once, J v and back J^T u, with what lies between at the
output. With g_i the gradient of sample i and J_i the Jacobian of its output:

    Gauss-Newton        1/count sum_i J_i^T (second derivative of the loss by the output) J_i
    empirical Fisher    1/N sum_i g_i g_i^T
    covariance          1/(N-1) sum_i (g_i - G)(g_i - G)^T, G their mean: the objective's gradient

Where a mean is over tokens, g_i = N / count * (gradient of sample i's summed loss), as in `gradient_noise`.

Proved right by: dense float64 matrices from single Jacobians and single gradients, and one contract for all operators
(`tests/analysis/operators/test_contract.py`). Cost of a product: about one and a third gradients with kept graphs.

References: Schraudolph, Fast curvature matrix-vector products (2002); Kunstner et al., arXiv 1905.12558, on what the
empirical Fisher is not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analysis.cutting import batch_length
from analysis.objective import Objective
from analysis.operators.output_tape import OutputTape, record_outputs
from analysis.tapes import Tapes


class _OnOutputs:
    """What the three have in common.

    Args:
        objective: Whose model, loss and data; its weights at the time of each product count.
    """

    method = ""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._tapes = Tapes(record_outputs, objective.memory_budget)

    @property
    def num_parameters(self) -> int:
        """D."""
        return self.objective.num_parameters

    @property
    def device(self) -> torch.device:
        """Where vectors live."""
        return self.objective.device

    @property
    def dtype(self) -> torch.dtype:
        """Of vectors."""
        return self.objective.dtype

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the measured parameters, in the order of the flat vector."""
        return self.objective.names

    def release(self) -> None:
        """Free the graphs kept for products."""
        self._tapes.release()

    def _pieces(self, vector: Tensor) -> list[Tensor]:
        layout = self.objective.layout
        return list(layout.split(layout.checked(vector, "vector")).values())


class GaussNewton(_OnOutputs):
    """The generalized Gauss-Newton matrix: the Hessian without the curvature of the model itself.

    Positive semidefinite where the loss is convex in the output. For softmax cross-entropy it is the Fisher matrix.

    Args:
        objective: Whose. Its loss must be computed from one output of the model.

    Example:
        >>> from analysis import GaussNewton, Objective, hessian_eigenvalues
        >>> model = torch.nn.Linear(3, 1, bias=False)  # linear: Gauss-Newton and Hessian are the same, (2/N) X^T X
        >>> x, y = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)
        >>> hessian_eigenvalues(GaussNewton(Objective(model, torch.nn.MSELoss(), (x, y))), k=2).values
        tensor([6.0000, 2.6667])
    """

    method = "gauss_newton"

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D].

        Raises:
            ValueError: Another shape, or a loss that is not computed from one output of the model.
        """
        pieces = self._pieces(vector)
        return self._tapes.total(
            self.objective,
            None,
            lambda tape, leaves, keep: tape.pull(leaves, tape.bend(tape.push(pieces)), keep=keep),
        )

    def forms(self, vector: Tensor) -> Tensor:
        """Return v . G_i v of each sample, whose mean is v . G v, [N] in float64 on the CPU, in the order of the data.

        Args:
            vector: v, [D].

        Raises:
            ValueError: As for `hvp`, or batches or outputs without samples along their first axis.
        """
        pieces = self._pieces(vector)
        found: list[Tensor] = []
        count = 0.0

        def use(tape: OutputTape, leaves: list[Tensor], keep: bool) -> list[Tensor | None]:  # noqa: ARG001
            nonlocal count
            tangents = tape.push(pieces)
            pairs = zip(tangents, tape.bend(tangents), strict=True)
            form = torch.zeros(_samples(tape), dtype=torch.float64)
            for tangent, bent in pairs:
                form += (tangent * bent).reshape(len(form), -1).sum(1).double().cpu()
            found.append(form)
            count += tape.count
            return [None] * len(leaves)

        self._tapes.total(self.objective, None, use)
        forms = torch.cat(found)
        return forms * (len(forms) / count)


class EmpiricalFisher(_OnOutputs):
    """The mean outer product of per-sample gradients, uncentered.

    Args:
        objective: Whose. Samples lie along the first axis of the batch's tensors and of the model's output.
    """

    method = "empirical_fisher"

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self._known: tuple[int, float] | None = None

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D].

        Raises:
            ValueError: Another shape, or batches or outputs without samples along their first axis.
        """
        return self._product(vector, 0.0)

    def _product(self, vector: Tensor, center: float) -> Tensor:
        """Return 1/N sum_i g_i (g_i . v - center)."""
        pieces = self._pieces(vector)
        samples, count = self._sizes()
        shift = center * count / samples  # below, derivatives are count / N times those of g_i

        def use(tape: OutputTape, leaves: list[Tensor], keep: bool) -> list[Tensor | None]:
            size = _samples(tape)
            slopes = [slope.detach() for slope in tape.slopes]
            along = torch.zeros(size, dtype=slopes[0].dtype, device=slopes[0].device)
            for slope, tangent in zip(slopes, tape.push(pieces), strict=True):
                along += (slope * tangent).reshape(size, -1).sum(1)
            along -= shift
            return tape.pull(leaves, [s * along.view(-1, *[1] * (s.ndim - 1)) for s in slopes], keep=keep)

        return self._tapes.total(self.objective, None, use) * (samples / count)

    def _sizes(self) -> tuple[int, float]:
        """Return N and the count of the mean, from one pass over the data."""
        if self._known is None:
            found: list[tuple[int, float]] = []

            def note(tape: OutputTape, leaves: list[Tensor], keep: bool) -> list[Tensor | None]:  # noqa: ARG001
                found.append((_samples(tape), tape.count))
                return [None] * len(leaves)

            self._tapes.total(self.objective, None, note)
            self._known = sum(n for n, _ in found), sum(c for _, c in found)
        return self._known


class GradientCovariance(EmpiricalFisher):
    """The covariance matrix of per-sample gradients: its trace is the tr(Sigma) of `gradient_noise`.

    Args:
        objective: As for `EmpiricalFisher`; at least two samples.
    """

    method = "gradient_covariance"

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self._mean: tuple[Tensor, Tensor] | None = None

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D]. Cost beside the product: one gradient, once per set of weights.

        Args:
            vector: [D].

        Raises:
            ValueError: As for `EmpiricalFisher`, or a single sample.
        """
        vector = self.objective.layout.checked(vector, "vector")
        # sum (g_i - G)(g_i - G)^T v = sum g_i (g_i . v - G . v): nothing large is subtracted from anything large
        samples = self._sizes()[0]
        if samples < 2:
            raise ValueError("a covariance of gradients needs at least 2 samples, got 1")
        return self._product(vector, float(self._gradient() @ vector)) * (samples / (samples - 1))

    def _gradient(self) -> Tensor:
        weights = self.objective.weights()
        if self._mean is None or not torch.equal(self._mean[0], weights):
            self._mean = weights, self.objective.gradient()
        return self._mean[1]


def _samples(tape: OutputTape) -> int:
    size = batch_length(tape.batch, "a Fisher matrix")
    shapes = [tuple(z.shape) for z in tape.outputs]
    if any(shape[:1] != (size,) for shape in shapes):
        raise ValueError(
            f"a Fisher matrix needs outputs with the samples along their first axis, {size} in this batch, got shapes "
            f"{', '.join(map(str, shapes))}"
        )
    return size
