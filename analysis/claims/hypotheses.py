"""The hypotheses as data: which number of which runs is compared with which other, and what would support the claim.

One value per comparison, so that a study can be read before it is run and a new comparison needs no code. The claims
are those of the GCSAM paper (arXiv 2501.11584) and its neighbors, numbered 1 to 9. Right when each names columns that
`collect` fills (`tests/analysis/claims/test_hypotheses.py`); costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

DIRECTIONS = ("lower", "higher", "")
SCALES = ("log-ratio", "difference", "level", "spread", "rank", "rank within methods", "")

# Above this, ||Pg|| / ||g|| is called 1: the ascent then gains at least 99 % of SAM's to first order. Our choice,
# because transformers sit at 0.9999 and plain networks at 0.76 to 0.97: the line lies in the gap.
SAME_AS_SAM = 0.99


@dataclass(frozen=True)
class Claim:
    """One comparison that bears on a numbered claim.

    Args:
        number: Of the claim, 1 to 9.
        statement: What the claim says, in one sentence.
        quantity: Column of the run table it is about.
        scale: "log-ratio" of paired runs, "difference" of paired runs, "level" of one method, "spread" (ratio of
            standard deviations over seeds), "rank" (correlation over all runs), "rank within methods", or "" for a
            comparison that is not made.
        direction: "lower" or "higher", where a clear effect of that sign supports the claim; "" where the number is
            reported and nothing can be proved by it.
        treatment: Method whose runs carry the claim; "" for all runs.
        control: Method it is compared with; "" where it is compared with itself or not at all.
        control_quantity: Column of the control; "" is the same column.
        unit: Of the effect.
        matched: Column in which treatment and control should agree for the comparison to be fair; "" for none.
        reason: Why the comparison proves nothing or is not made; only with `direction=""`.
        missing: What a NaN in the column means.
        needs: What a study must hold for the column to be there; without it the comparison is not made.

    Raises:
        ValueError: Scale or direction is none of the above, or a reported number has no reason.
    """

    number: int
    statement: str
    quantity: str
    scale: str
    direction: str
    treatment: str = "gcsam"
    control: str = ""
    control_quantity: str = ""
    unit: str = "%"
    matched: str = ""
    reason: str = ""
    missing: str = "not measured"
    needs: str = ""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, got {self.scale!r}")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}, got {self.direction!r}")
        if (self.direction == "") != bool(self.reason):
            raise ValueError(
                f"a reason belongs to direction '' and only to it, got {self.direction!r}, {self.reason!r}"
            )

    @property
    def role(self) -> str:
        """Either "decides" (it has a verdict), "reported" (a number without one) or "untested" (no number)."""
        if not self.scale:
            return "untested"
        return "decides" if self.direction else "reported"

    @property
    def comparison(self) -> str:
        """Who is compared with whom, for the reader."""
        if self.role == "untested":
            return "not made"
        if self.scale == "level":
            return f"{self.treatment} vs 1"
        if self.scale.startswith("rank"):
            return f"with {self.control_quantity}, " + ("all runs" if self.scale == "rank" else "within methods")
        pair = (
            f"{self.treatment} vs {self.control}" if self.control else f"{self.treatment}, vs {self.control_quantity}"
        )
        return f"spread over seeds, {pair}" if self.scale == "spread" else pair


WORSE_LOSES_LESS = "reported as it is: a network that is worse on clean images has less to lose"
NEEDS_ROBUSTNESS = "needs the command landscape robustness on the runs"
ANY_PROJECTION = "it falls under every projection (tr(P Sigma P) <= tr(Sigma)), so it proves nothing"
NO_BOUND = "reported as it is: the claim sets no bound"

_FLATNESS = (
    "lambda_max",
    "lambda_ratio",
    "trace",
    "worst",
    "average",
    "worst_adaptive",
    "average_adaptive",
)
_SHARPNESS = tuple(name for name in _FLATNESS if name != "lambda_ratio")

_CHANGES = "Centralization changes the ascent direction"
_NOISE = "Centralization lowers the relative noise of the gradient, beyond a random projection"
_AGREES = "Centralized ascent directions of two disjoint batches agree more, beyond a random projection"
_FLATTER = "GCSAM finds flatter minima at matched training loss"
_ALONG = "GCSAM's minima are flatter along centralized directions too, at matched training loss"
_ACCURATE = "GCSAM has better test accuracy"
_STEADIER = "GCSAM has steadier test accuracy over seeds"
_FASTER = "GCSAM trains faster"
_SMOOTHER = "GCSAM trains more smoothly"
_COST = "Cost of GCSAM"
_ROBUST = "GCSAM is more robust to shifted inputs"
_FOLLOWS = "GCSAM follows a drifting distribution better"
_LOSES_LESS = "GCSAM loses less accuracy on shifted inputs"
_PREDICTS = "Sharpness predicts the generalization gap"


def as_asked(claim: Claim, columns: Collection[str]) -> Claim:
    """Return the comparison, or that it is not made where the table lacks the column a special run would fill.

    Args:
        claim: One of a study.
        columns: Names of those of the run table.
    """
    if not claim.needs or claim.quantity in columns:
        return claim
    return _untested(claim.number, claim.statement, claim.needs)


def _untested(number: int, statement: str, reason: str) -> Claim:
    return Claim(number, statement, "", "", "", treatment="", unit="", reason=reason)


CLAIMS: tuple[Claim, ...] = (
    Claim(1, _CHANGES, "ascent_ratio", "level", "lower"),
    Claim(2, _NOISE, "centralized_noise_scale", "log-ratio", "lower", control_quantity="raw_noise_scale"),
    Claim(2, _NOISE, "centralized_noise_scale", "log-ratio", "lower", control_quantity="control_noise_scale"),
    Claim(
        2,
        "Centralization lowers the absolute noise of the gradient",
        "centralized_noise_trace",
        "log-ratio",
        "",
        control_quantity="raw_noise_trace",
        reason=ANY_PROJECTION,
    ),
    *(
        Claim(
            2,
            _AGREES,
            "centralized_ascent_cosine",
            "difference",
            "higher",
            control_quantity=f"{other}_ascent_cosine",
            unit="percentage points",
        )
        for other in ("raw", "control")
    ),
    *(
        Claim(3, _FLATTER, quantity, "log-ratio", "lower", control=control, matched="train_loss")
        for control in ("sam", "sgd")
        for quantity in _FLATNESS
    ),
    *(
        Claim(3, _ALONG, "trace_centralized", "log-ratio", "lower", control=control, matched="train_loss")
        for control in ("sam", "sgd")
    ),
    *(
        Claim(4, _ACCURATE, "test_accuracy", "difference", "higher", control=control, unit="percentage points")
        for control in ("sam", "sgd", "gc")
    ),
    *(Claim(4, _STEADIER, "test_accuracy", "spread", "lower", control=control) for control in ("sam", "sgd", "gc")),
    _untested(5, "GCSAM is less sensitive to rho", "needs runs over a grid of rho"),
    Claim(6, _FASTER, "epochs_to_target", "log-ratio", "lower", control="sam", missing="target accuracy not reached"),
    Claim(6, _SMOOTHER, "step_change_variance", "log-ratio", "lower", control="sam"),
    *(
        Claim(7, _COST, quantity, "log-ratio", "", control=control, reason=NO_BOUND)
        for control in ("sam", "sgd")
        for quantity in ("step_seconds_median", "gradient_evaluations")
    ),
    _untested(7, "Memory of a step", "needs the peak memory of a step"),
    _untested(8, "GCSAM is more robust to label noise", "needs runs on noisy labels"),
    *(
        Claim(
            8,
            _ROBUST,
            "corrupted_accuracy",
            "difference",
            "higher",
            control=control,
            unit="percentage points",
            needs=NEEDS_ROBUSTNESS,
        )
        for control in ("sam", "sgd", "gc")
    ),
    *(
        Claim(
            8,
            _LOSES_LESS,
            "corruption_gap",
            "difference",
            "",
            control=control,
            unit="percentage points",
            reason=WORSE_LOSES_LESS,
            needs=NEEDS_ROBUSTNESS,
        )
        for control in ("sam", "sgd", "gc")
    ),
    *(
        Claim(
            8,
            _FOLLOWS,
            "online_accuracy",
            "difference",
            "higher",
            control=control,
            unit="percentage points",
            needs="needs runs on a drifting stream",
        )
        for control in ("sam", "sgd", "gc")
    ),
    *(
        Claim(
            9,
            _PREDICTS,
            quantity,
            scale,
            "higher",
            treatment="",
            control_quantity="generalization_gap",
            unit="rank correlation",
        )
        for scale in ("rank", "rank within methods")
        for quantity in _SHARPNESS
    ),
)
