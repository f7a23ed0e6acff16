"""GCSAM: sharpness-aware minimization whose ascent direction is the centralized gradient, around any base optimizer.

Every variant is an option of the one class (SAM, adaptive SAM, Friendly-SAM, gradient centralization in either half,
the shorter radius of the published code, SAM at that radius), so that comparisons differ in that option alone. Needs
nothing but torch.

Proved right by: a slow twin written from the formulas (`tests/oracles/gcsam_twin.py`), equal over 20 steps in
parameters and state for every switch; ||epsilon|| in float64; restored weights and resumed runs compared bit for bit.
Cost: two forward and backward passes; one copy of the weights, two for Friendly-SAM; no reading from an accelerator, so
that a step can be captured in a graph where the base optimizer's can, except under a GradScaler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from gcsam.options import check_perturbation, with_module_dims
from gcsam.two_pass import TwoPass

__all__ = ["GCSAM"]

Built = TypeVar("Built", bound="GCSAM")


class GCSAM(TwoPass):
    """Step downhill with the gradient at w + epsilon, where epsilon = rho * Pg / ||Pg|| points uphill from w.

    `step(closure)` runs the closure at w, moves every weight by epsilon, runs it again, puts back w bit for bit (never
    by subtraction), and lets the base optimizer step with the second gradient. P is the centralization
    (`gcsam.centralize`).

    The norm is taken over all parameters of all groups, so with one rho ||epsilon|| = rho. Where groups differ in rho,
    epsilon_group = rho_group * d_group / ||d||: a group keeps its share of the direction and scales it by its own rho.
    A group with rho=0 stays where it is and still counts in the norm.

    adaptive=True is ASAM with T = |w| + eta on tensors of two or more axes and T = 1 on the others (biases, norm
    scales). P acts in the coordinates T^-1 w, where the gradient is T g: d = P(T g), epsilon = rho * T d / ||d||, so
    that ||T^-1 epsilon|| = rho. Of d = T P(g) the same could be said, but not that q <= 1, nor that with eta=0 the
    step is invariant to a rescaling of single weights, which is what ASAM is for.

    Numerical outcomes. A zero gradient: epsilon = 0, the base step. A norm of the first gradient that is not finite:
    epsilon = 0, and the step is skipped. Of the second: w is put back, and the step is skipped. `num_skipped` counts
    them. Skipped means that the base optimizer does not step, on a CPU, under a GradScaler, and with fused=True;
    elsewhere, where nothing waits for the device, it steps with a gradient of zero. All rho 0: the closure runs once
    and the step is the base optimizer's, bit for bit, random numbers and batch-norm statistics included.

    The base optimizer's weight decay acts in its own step only; its L2 term is no part of the gradient of the ascent.
    The second pass draws its own dropout masks. A parameter without a gradient in the first pass is not moved.

    Args:
        params: Parameters or groups, as for any optimizer. A group may set for itself every option below down to
            `projection_seed`, any argument of the base optimizer, and `centralize_dims`: the axes P averages over, as a
            tuple for all tensors of the group with two or more axes, or as a list with one entry per parameter (None:
            all axes but the first). A weight with one element per row is left alone whatever the axes, or it would
            never train.
        base_class: Any torch.optim.Optimizer class whose step needs no closure.
        rho: Radius, >= 0, in units of the weights; or a function of the number of steps done, 0 at first. 0.05 is the
            default of Foret et al. `group["rho"]` holds the present value, and may be edited where rho is a number.
        adaptive: Scale the ball by the weights (ASAM). Its usual rho is ten times larger.
        centralize_ascent: False makes it SAM.
        centralize_descent: Hand P(gradient) to the base optimizer, before its weight decay. `.grad` itself keeps what
            backward left. With rho=0 this is gradient centralization (Yong et al.).
        radius: "exact": ||epsilon|| = rho. "published": rho * ||Pg|| / ||g||, as the authors' code computes it, the
            norm being taken before centralizing; it is "exact" at a radius `ascent_ratio()` times as large. "matched":
            ||epsilon|| = rho * ||Pg|| / ||g|| whatever the direction. With centralize_ascent=True that is "published";
            with False it is the control that a comparison of GCSAM with SAM needs. SAM at rho climbs further than
            GCSAM does: to first order the loss rises by rho * ||g||, along rho * Pg / ||Pg|| by q times that, q =
            ||Pg|| / ||g||. SAM at q * rho, with the q of the same batch, has the rise of GCSAM "exact" at rho and the
            length of GCSAM "published" at rho: what then is left between them is the direction.
        eta: Offset of T in adaptive mode, >= 0; 0.01 as in Kwon et al.
        projection: "mean": P as above. "random": in its place the control of the same rank, which removes from each
            row its component along a random direction (`gcsam.centralize.random_directions`). Needs a second copy.
        projection_seed: Of these directions, from 0; they are the same at every step.
        friendly: sigma >= 0 of Friendly-SAM: g - sigma * m takes the place of g on the way up, where m is the moving
            average of the first gradients (`gcsam.averages`). 0: g itself; 1 as in the paper. Needs a second copy,
            which is part of the state_dict. Each ascent counts for m, also one that `restore()` gives up; with
            perturbation="local" each process has an m of its own.
        friendly_decay: lambda of m, in [0, 1); 0.9 as in the code of its authors.
        perturbation: For several processes with a DistributedDataParallel model. "global": all climb along the
            gradient of the joint batch, as one process would. "local": each along that of its own share (m-sharpness
            with m = the local batch). Sharded models (fully_shard) have "global" only.
        skip_nonfinite: False trusts every gradient to be finite, and saves reading the second one; not for use with a
            GradScaler.
        **base_kwargs: For the base optimizer, for example lr=0.1.

    Attributes:
        base_optimizer: The wrapped optimizer. It shares `param_groups` and `state` with this one, so learning-rate
            schedulers take either.

    Raises:
        ValueError: An option out of range, or one that the base optimizer has under the same name (Adadelta's rho).
        TypeError: base_class is no optimizer class; an argument that neither side knows.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 0.0]]))
        >>> optimizer = GCSAM([w], torch.optim.SGD, rho=2**0.5, lr=0.25)
        >>> def closure():
        ...     loss = w.square().sum() / 2  # gradient w: [3, 0], centralized [1.5, -1.5], so epsilon = [1, -1]
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item(), w.data  # [3, 0] - 0.25 * [4, -1]
        (4.5, tensor([[2.0000, 0.2500]]))

    References:
        Hassan et al., arXiv 2501.11584 (GCSAM); Foret et al., arXiv 2010.01412 (SAM); Kwon et al., arXiv 2102.11600
        (ASAM); Yong et al., arXiv 2004.01461 (GC); Li et al., arXiv 2403.12350 (Friendly-SAM). We differ from the
        released code of GCSAM: (1) the radius is exact unless asked for; (2) weights come back from a copy, not by
        subtraction; (3) axes go by layer type. Of Friendly-SAM we follow the paper's formula; the released code and
        pytorch_optimizer's FriendlySAM start from m_0 = g_0 and remove m_{t-1}, which gives other directions for
        sigma != 1 and in the first steps, write the direction into `.grad`, and know no offset of T, so neither is a
        reference for ours.
    """

    def __init__(
        self,
        params: Iterable[Any],
        base_class: type[Optimizer],
        rho: float | Callable[[int], float] = 0.05,
        adaptive: bool = False,
        centralize_ascent: bool = True,
        centralize_descent: bool = False,
        radius: Literal["exact", "published", "matched"] = "exact",
        *,
        eta: float = 0.01,
        projection: Literal["mean", "random"] = "mean",
        projection_seed: int = 0,
        friendly: float = 0.0,
        friendly_decay: float = 0.9,
        perturbation: Literal["global", "local"] = "global",
        skip_nonfinite: bool = True,
        **base_kwargs: Any,
    ) -> None:
        options = {
            "rho": rho,
            "adaptive": adaptive,
            "centralize_ascent": centralize_ascent,
            "centralize_descent": centralize_descent,
            "radius": radius,
            "eta": eta,
            "projection": projection,
            "projection_seed": projection_seed,
            "friendly": friendly,
            "friendly_decay": friendly_decay,
            "centralize_dims": None,
            "gcsam_steps": 0,
        }
        check_perturbation(perturbation)
        super().__init__(
            params, base_class, options, base_kwargs, perturbation=perturbation, skip_nonfinite=skip_nonfinite
        )

    @classmethod
    def from_model(
        cls: type[Built],
        model: nn.Module,
        base_class: type[Optimizer],
        *,
        params: Iterable[Any] | None = None,
        **options: Any,
    ) -> Built:
        """Build the optimizer of a model, with the axes of P read from its module types (`gcsam.module_dims`).

        `step(closure)` then also holds the running statistics of batch norm during the second pass, so that they
        advance once a step, from the pass at w. In a hand-written loop put the second forward pass into
        `with hold_statistics(model):`.

        Args:
            model: Its parameters are optimized, frozen ones included, so that they can be thawed later.
            base_class: As for the class.
            params: Parameters or groups of this model, instead of all in one group. A group that sets
                `centralize_dims` keeps its own.
            **options: The other arguments of the class.

        Returns:
            The optimizer. It refers to the model, but its state_dict does not.
        """
        optimizer = cls(with_module_dims(model, params), base_class, **options)
        optimizer._model = model
        return optimizer

    def ascent_ratio(self) -> float:
        """Return q = ||Pg|| / ||g|| of the last ascent, over all parameters: to first order, gain over SAM's gain.

        Groups that neither climb along Pg nor match its radius count with g itself; adaptive ones with T g. NaN before
        the first ascent, and where the gradient was 0. Waits for the device.
        """
        norms = self._perturbation.norms
        return float("nan") if norms is None else norms.ratio()

    def ascent_ratios(self) -> dict[Tensor, float]:
        """Return q of the last ascent for each parameter that had a gradient; NaN where that was 0."""
        norms = self._perturbation.norms
        return {} if norms is None else norms.ratios()
