"""The claims as data: each number is there, each comparison names columns that exist, each says what supports it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.claims import CLAIMS, Claim
from analysis.claims.claim import as_asked
from analysis.claims.sweeps import COLUMNS
from analysis.claims.table import DERIVED

SUMMARY = {"train_loss", "test_accuracy", "step_seconds_median", "step_memory_bytes", "online_accuracy"}
EXAMPLE = Claim(3, "flatter", "trace", "log-ratio", "lower", control="sam")


def test_every_claim_is_listed() -> None:
    assert sorted({claim.number for claim in CLAIMS}) == list(range(1, 10))
    assert [claim.number for claim in CLAIMS] == sorted(claim.number for claim in CLAIMS)


def test_no_comparison_is_made_twice() -> None:
    keys = [(claim.number, claim.statement, claim.quantity, claim.scale, claim.comparison) for claim in CLAIMS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.role != "untested"])
def test_columns_exist(claim: Claim) -> None:
    for name in (claim.quantity, claim.control_quantity, claim.matched):
        assert name in {"", *DERIVED, *COLUMNS, *SUMMARY}
    # what only some studies have: sweeps, corrupted images, a stream, a probe
    special = {*COLUMNS, "corrupted_accuracy", "corruption_gap", "online_accuracy", "centralized_training_noise_scale"}
    assert bool(claim.needs) == (claim.quantity in special)
    assert claim.unit


def test_numbers_with_verdicts() -> None:
    decided = {claim.number for claim in CLAIMS if claim.role == "decides"}
    assert decided == {1, 2, 3, 4, 5, 6, 8, 9}
    assert {claim.number for claim in CLAIMS} - decided == {7}


@pytest.mark.parametrize(
    ("number", "quantity", "direction"),
    [
        (1, "ascent_ratio", {"lower"}),
        (2, "centralized_noise_scale", {"lower"}),
        (2, "centralized_training_noise_scale", {"lower"}),
        (3, "lambda_max", {"lower"}),
        (3, "average_adaptive", {"lower"}),
        (4, "test_accuracy", {"higher", "lower"}),  # the mean higher, the spread lower
        (5, "rho_area", {"higher"}),
        (6, "epochs_to_target", {"lower"}),
        (6, "step_change_variance", {"lower"}),
        (6, "loss_spikes", {"lower"}),
        (6, "curve_roughness", {"lower"}),
        (7, "step_seconds_median", {""}),
        (7, "step_memory_bytes", {""}),
        (8, "label_noise_area", {"higher"}),
        (8, "corrupted_accuracy", {"higher"}),
        (8, "corruption_gap", {""}),  # who is worse on clean images has less to lose
        (8, "online_accuracy", {"higher"}),
        (9, "worst", {"higher"}),
    ],
)
def test_what_would_support_a_claim(number: int, quantity: str, direction: set[str]) -> None:
    found = [claim for claim in CLAIMS if (claim.number, claim.quantity) == (number, quantity)]
    assert {claim.direction for claim in found} == direction
    steps = {"higher"} if number == 4 else direction  # shares of the steps are better lower
    assert {claim.direction for claim in found if claim.scale == "difference"} <= steps
    assert {claim.direction for claim in found if claim.scale == "spread"} <= {"lower"}


def test_the_noise_that_every_projection_lowers_decides_nothing() -> None:
    """tr(P Sigma P) <= tr(Sigma) for any projection P, so no verdict may rest on it."""
    absolute = [claim for claim in CLAIMS if "noise_trace" in claim.quantity]
    assert [claim.role for claim in absolute] == ["reported"]
    relative = {claim.control_quantity for claim in CLAIMS if claim.number == 2 and claim.role == "decides"}
    kinds = ("raw", "control")  # both are beaten, or nothing is said
    assert relative == {
        f"{kind}_{what}" for kind in kinds for what in ("noise_scale", "training_noise_scale", "ascent_cosine")
    }


def test_label_noise_robustness_and_drift_are_decided_against_all_three() -> None:
    robust = [claim for claim in CLAIMS if claim.number == 8 and claim.role == "decides"]
    assert {(claim.quantity, claim.control) for claim in robust} == {
        (quantity, control)
        for quantity in ("label_noise_area", "corrupted_accuracy", "online_accuracy")
        for control in ("sam", "sgd", "gc")
    }
    assert {(claim.scale, claim.unit) for claim in robust} == {("difference", "percentage points")}


def test_a_comparison_is_not_made_without_the_column_it_needs() -> None:
    claim = replace(EXAMPLE, needs="needs more")
    assert as_asked(claim, {"trace"}) is claim
    assert as_asked(EXAMPLE, set()) is EXAMPLE
    found = as_asked(claim, {"other"})
    assert (found.role, found.number, found.statement, found.reason) == ("untested", 3, "flatter", "needs more")


def test_minima_are_compared_at_matched_training_loss() -> None:
    compared = [claim for claim in CLAIMS if claim.number == 3 and claim.role == "decides"]
    assert {claim.matched for claim in compared} == {"train_loss"}
    assert {claim.control for claim in compared if not claim.is_optional} == {"sam", "sgd"}


def test_controls_are_compared_where_a_study_has_them() -> None:
    """Beside SAM and SGD: who else could have the same minima and accuracy, for another reason."""
    optional = {(claim.number, claim.quantity, claim.control) for claim in CLAIMS if claim.is_optional}
    controls = ("sam-matched", "random", "fsam", "sgd-long")
    wanted = ((3, "lambda_max"), (3, "trace"), (3, "worst"), (4, "test_accuracy"))
    assert optional == {(number, quantity, control) for control in controls for number, quantity in wanted}
    assert {claim.role for claim in CLAIMS if claim.is_optional} == {"decides"}


@pytest.mark.parametrize(
    ("changes", "comparison", "role"),
    [
        ({}, "gcsam vs sam", "decides"),
        ({"control": "", "control_quantity": "raw"}, "gcsam, vs raw", "decides"),
        ({"scale": "spread"}, "spread over seeds, gcsam vs sam", "decides"),
        ({"scale": "level"}, "gcsam vs 1", "decides"),
        ({"scale": "rank", "control_quantity": "gap"}, "with gap, all runs", "decides"),
        ({"scale": "rank within methods", "control_quantity": "gap"}, "with gap, within methods", "decides"),
        ({"direction": "", "reason": "no bound"}, "gcsam vs sam", "reported"),
        ({"scale": "", "direction": "", "reason": "needs more"}, "not made", "untested"),
    ],
)
def test_comparison_and_role(changes: dict[str, str], comparison: str, role: str) -> None:
    claim = replace(EXAMPLE, **changes)
    assert (claim.comparison, claim.role) == (comparison, role)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": "ratio"}, r"scale must be one of .*, got 'ratio'"),
        ({"direction": "smaller"}, r"direction must be one of .*, got 'smaller'"),
        ({"direction": ""}, r"a reason belongs to direction '' and only to it, got '', ''"),
        ({"reason": "no bound"}, r"a reason belongs to direction '' and only to it, got 'lower', 'no bound'"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(EXAMPLE, **changes)
