"""The hypotheses as data: which number of which runs is compared with which other, and what would support the claim.

One value per comparison, so that a study can be read before it is run and a new comparison needs no code. The claims
are those of the GCSAM paper (arXiv 2501.11584) and its neighbors, numbered 1 to 9. Right when each names columns that
`collect` fills (`tests/analysis/claims/test_hypotheses.py`); costs nothing.
"""

from __future__ import annotations

from analysis.claims.claim import Claim

# Above this, ||Pg|| / ||g|| is called 1: the ascent then gains at least 99 % of SAM's to first order. Our choice,
# because transformers sit at 0.9999 and plain networks at 0.76 to 0.97: the line lies in the gap.
SAME_AS_SAM = 0.99

IN_THE_AREA = "it is one end of the grid whose area decides"
WORSE_LOSES_LESS = "reported as it is: a network that is worse on clean images has less to lose"
NEEDS_ROBUSTNESS = "needs the command landscape robustness on the runs"
NO_GRADIENT = "infinite, as the mean gradient is not told from 0,"
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
_NOISE = "Centralization lowers the relative noise of the gradient at the minimum, beyond a random projection"
_NOISE_IN_TRAINING = "Centralization lowers the relative noise on the way to the minimum, beyond a random projection"
_AGREES = "Centralized ascent directions of two disjoint batches agree more, beyond a random projection"
_FLATTER = "GCSAM finds flatter minima at matched training loss"
_ALONG = "GCSAM's minima are flatter along centralized directions too, at matched training loss"
_ACCURATE = "GCSAM has better test accuracy"
_STEADIER = "GCSAM has steadier test accuracy over seeds"
_FASTER = "GCSAM trains faster"
_SMOOTHER = "GCSAM trains more smoothly"
_COST = "Cost of GCSAM"
_INSENSITIVE = "GCSAM is less sensitive to rho"
_NOISY = "GCSAM is more robust to label noise"
_ROBUST = "GCSAM is more robust to shifted inputs"
_FOLLOWS = "GCSAM follows a drifting distribution better"
_LOSES_LESS = "GCSAM loses less accuracy on shifted inputs"
_PREDICTS = "Sharpness predicts the generalization gap"


# What a comparison of GCSAM with SAM leaves open: the radius, the projection, the premise, the number of gradients.
CONTROLS = ("sam-matched", "random", "fsam", "sgd-long")


CLAIMS: tuple[Claim, ...] = (
    Claim(1, _CHANGES, "ascent_ratio", "level", "lower"),
    *(
        Claim(
            2,
            _NOISE_IN_TRAINING,
            "centralized_training_noise_scale",
            "log-ratio",
            "lower",
            control_quantity=f"{other}_training_noise_scale",
            infinite=NO_GRADIENT,
            needs="needs runs watched by a probe of the noise",
        )
        for other in ("raw", "control")
    ),
    *(
        Claim(
            2,
            _NOISE,
            "centralized_noise_scale",
            "log-ratio",
            "lower",
            control_quantity=f"{other}_noise_scale",
            infinite=NO_GRADIENT,
        )
        for other in ("raw", "control")
    ),
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
        Claim(3, _FLATTER, quantity, "log-ratio", "lower", control=control, matched="train_loss", is_optional=True)
        for control in CONTROLS
        for quantity in ("lambda_max", "trace", "worst")
    ),
    *(
        Claim(3, _ALONG, "trace_centralized", "log-ratio", "lower", control=control, matched="train_loss")
        for control in ("sam", "sgd")
    ),
    *(
        Claim(4, _ACCURATE, "test_accuracy", "difference", "higher", control=control, unit="percentage points")
        for control in ("sam", "sgd", "gc")
    ),
    *(
        Claim(
            4,
            _ACCURATE,
            "test_accuracy",
            "difference",
            "higher",
            control=control,
            unit="percentage points",
            is_optional=True,
        )
        for control in CONTROLS
    ),
    *(Claim(4, _STEADIER, "test_accuracy", "spread", "lower", control=control) for control in ("sam", "sgd", "gc")),
    *(
        Claim(
            5,
            _INSENSITIVE,
            quantity,
            "difference",
            direction,
            control="sam",
            unit="percentage points",
            missing="a run of the grid diverged or is missing",
            needs="needs runs over a grid of rho",
        )
        for quantity, direction in (("rho_area", "higher"), ("rho_drop", "lower"))
    ),
    Claim(6, _FASTER, "epochs_to_target", "log-ratio", "lower", control="sam", missing="target accuracy not reached"),
    Claim(6, _SMOOTHER, "step_change_variance", "log-ratio", "lower", control="sam"),
    *(
        Claim(6, _SMOOTHER, quantity, scale, "lower", control=control, unit=unit)
        for control in ("sam", "sgd")
        for quantity, scale, unit in (
            ("loss_spikes", "difference", "percentage points"),  # none at all is a number, and has no ratio
            ("curve_roughness", "log-ratio", "%"),
        )
    ),
    *(
        Claim(7, _COST, quantity, "log-ratio", "", control=control, reason=NO_BOUND)
        for control in ("sam", "sgd")
        for quantity in ("step_seconds_median", "gradient_evaluations", "step_memory_bytes")
    ),
    *(
        Claim(
            8,
            _NOISY,
            quantity,
            "difference",
            direction,
            control=control,
            unit="percentage points",
            reason=reason,
            missing="a run of the grid diverged or is missing",
            needs="needs runs on noisy labels",
        )
        for quantity, direction, reason in (
            ("label_noise_area", "higher", ""),
            ("label_noise_highest", "", IN_THE_AREA),
        )
        for control in ("sam", "sgd", "gc")
    ),
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
