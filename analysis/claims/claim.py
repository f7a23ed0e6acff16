"""One comparison that bears on a claim: which number of which runs is compared with which other, and what supports it.

Right when a comparison that could prove nothing cannot be written down without its reason
(`tests/analysis/claims/test_hypotheses.py`). Costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

DIRECTIONS = ("lower", "higher", "")
SCALES = ("log-ratio", "difference", "level", "spread", "rank", "rank within methods", "")


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
        infinite: What an infinity in the column means.
        needs: What a study must hold for the column to be there; without it the comparison is not made.
        is_optional: The control is one a study may do without: where it has no such runs the comparison counts for
            nothing.

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
    infinite: str = "infinite"
    needs: str = ""
    is_optional: bool = False

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


def as_asked(claim: Claim, columns: Collection[str]) -> Claim:
    """Return the comparison, or that it is not made where the table lacks the column a special run would fill.

    Args:
        claim: One of a study.
        columns: Names of those of the run table.
    """
    if not claim.needs or claim.quantity in columns:
        return claim
    return untested(claim.number, claim.statement, claim.needs)


def untested(number: int, statement: str, reason: str) -> Claim:
    """Return a comparison that is not made.

    Args:
        number: Of the claim.
        statement: What it says.
        reason: Why nothing is compared.
    """
    return Claim(number, statement, "", "", "", treatment="", unit="", reason=reason)
