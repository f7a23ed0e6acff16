"""From a table of runs to verdicts: each comparison with its effect, its interval and the reason for the verdict.

Protocol: paired seeds, at least five for a verdict, 95 % intervals, one per comparison; p values beside them are
corrected for their number, and a verdict that does not survive this says so. Right when planted effects are found,
absent ones are not, and what proves nothing is never "supported" (`tests/analysis/claims/test_verdict.py`). Costs a
second, most of it the bootstrap and the permutations; needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.claims.claim import Claim, as_asked
from analysis.claims.effects import Effect, paired_effect, rank_effect
from analysis.claims.hypotheses import CLAIMS, SAME_AS_SAM
from analysis.claims.p_values import holm
from analysis.claims.statistics import CONFIDENCE, Array, Interval
from analysis.claims.table import RunTable

# The protocol of the SAM papers; below it the t interval is too wide to tell anything but a huge effect.
MIN_SEEDS = 5
# Relative difference of the training losses up to which minima count as equally deep. Our choice, because near a
# minimum the Hessian of the cross-entropy shrinks in proportion to the loss: 10 % of loss explains about 10 % of
# curvature, so it cannot pass for an effect worth claiming.
MATCHED = 0.10
NOT_CORRECTED = "its interval stands alone: the p value corrected for the number of comparisons is not significant"
# Layers named in a caveat, which is read in one line.
MAX_NAMES = 8

_NOTHING = Effect()


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim: effect and interval in the claim's unit, NaN where there is none.

    Args:
        claim: The comparison.
        verdict: "supported", "contradicted" or "inconclusive".
        reason: For it.
        evidence: The effect with all that is known about it.
        num_seeds: That count.
        treatment_mean: Of the treatment's runs.
        control_mean: Of the control's.
        caveat: What the reader must know beside the verdict; or empty.
        p_corrected: p value after Holm's rule over all comparisons that decide; NaN for one that does not.
    """

    claim: Claim
    verdict: str
    reason: str
    evidence: Effect = _NOTHING
    num_seeds: int = 0
    treatment_mean: float = math.nan
    control_mean: float = math.nan
    caveat: str = ""
    p_corrected: float = math.nan

    @property
    def role(self) -> str:
        """That of the claim; "absent" for a comparison with an optional control of which there are no runs."""
        return "absent" if self.reason == _no_runs(self.claim.control) and self.claim.is_optional else self.claim.role

    @property
    def effect(self) -> Interval:
        """The estimate with the interval that decides."""
        return self.evidence.interval


def judge(table: RunTable, claims: Sequence[Claim] = CLAIMS, confidence: float = CONFIDENCE) -> list[Verdict]:
    """Judge each claim by the runs.

    A number that is missing, infinite, or not positive where a ratio is taken makes its comparison "inconclusive":
    leaving out the run that diverged would favor its method.

    Args:
        table: Runs, as `collect` reads them.
        claims: Comparisons to make.
        confidence: Of the intervals, in (0, 1).

    Returns:
        A verdict per claim, "supported", "contradicted" or "inconclusive", in the order of `claims`. Effects are
        percent (of the control, for a level of 1), percentage points or rank correlations. A claim that needs what no
        run has is returned as an untested one.

    References:
        Holm, Scand. J. Statist. 6 (1979), for the corrected p values.
    """
    found = [_judge(as_asked(claim, table.columns), table, confidence) for claim in claims]
    decides = [verdict.role == "decides" for verdict in found]
    p_values = [v.evidence.p_value if is_counted else math.nan for v, is_counted in zip(found, decides, strict=True)]
    return [_corrected(*pair, confidence) for pair in zip(found, holm(p_values), strict=True)]


def overall(verdicts: Iterable[Verdict]) -> dict[int, str]:
    """Combine the comparisons that decide each numbered claim.

    Args:
        verdicts: From `judge`.

    Returns:
        By number: "supported" if every deciding comparison is (with optional controls, those that have runs),
        "contradicted" if at least one is and none is supported, else "inconclusive".
    """
    found: dict[int, list[str]] = {}
    for verdict in verdicts:
        decided = found.setdefault(verdict.claim.number, [])
        if verdict.role == "decides":
            decided.append(verdict.verdict)
    return {number: _combined(decided) for number, decided in sorted(found.items())}


def _combined(decided: list[str]) -> str:
    if decided and set(decided) == {"supported"}:
        return "supported"
    return "contradicted" if "contradicted" in decided and "supported" not in decided else "inconclusive"


def _judge(claim: Claim, table: RunTable, confidence: float) -> Verdict:
    if claim.role == "untested":
        return Verdict(claim, "inconclusive", claim.reason)
    if claim.scale.startswith("rank"):
        return _judge_rank(claim, table, confidence)
    for method in (claim.treatment, claim.control):
        if method and method not in table.method:
            return Verdict(claim, "inconclusive", _no_runs(method))
    pairs, problems = _pairs(claim, table)
    effect = paired_effect(claim.scale, pairs[:, 0], pairs[:, 1], _no_effect(claim), confidence)
    verdict, reason = _decide(claim, effect.interval, len(pairs), problems)
    means = (_mean(pairs[:, 0]), _mean(pairs[:, 1]))
    caveat = _equal_layers(claim, table) if claim.scale == "level" else _unmatched(claim, table)
    return Verdict(claim, verdict, reason, effect, len(pairs), *means, caveat)


def _no_runs(method: str) -> str:
    return f"no runs of method {method!r}"


def _judge_rank(claim: Claim, table: RunTable, confidence: float) -> Verdict:
    x, y = table.values(claim.quantity), table.values(claim.control_quantity)
    usable = np.isfinite(x) & np.isfinite(y)
    groups = np.array(table.method) if claim.scale == "rank within methods" else np.zeros(len(x))
    effect = rank_effect(x[usable], y[usable], groups[usable], confidence)
    num_seeds = len({seed for seed, is_usable in zip(table.seed, usable, strict=True) if is_usable})
    problems = _told([(claim.missing, int((~usable).sum()))])
    verdict, reason = _decide(claim, effect.interval, num_seeds, problems)
    return Verdict(claim, verdict, reason, effect, num_seeds, _mean(x[usable]), _mean(y[usable]))


def _pairs(claim: Claim, table: RunTable) -> tuple[Array, list[str]]:
    """Return the usable numbers of treatment and control by seed [pair, 2], and what is wrong with the others."""
    ours = table.by_seed(claim.treatment, claim.quantity)
    if claim.scale == "level":
        theirs = dict.fromkeys(ours, 1.0)
    else:
        theirs = table.by_seed(claim.control or claim.treatment, claim.control_quantity or claim.quantity)
    seeds = sorted(ours.keys() & theirs.keys())
    pairs = np.array([(ours[seed], theirs[seed]) for seed in seeds], dtype=np.float64).reshape(-1, 2)
    missing, infinite = np.isnan(pairs), np.isinf(pairs)
    not_positive = ~infinite & (pairs <= 0) & (claim.scale == "log-ratio")
    problems = (
        (claim.missing, _num_runs(missing, claim)),
        (claim.infinite, _num_runs(infinite, claim)),
        ("not positive, so without a ratio,", _num_runs(not_positive, claim)),
    )
    return pairs[~(missing | infinite | not_positive).any(1)], _told(problems)


def _num_runs(wrong: np.ndarray[Any, np.dtype[np.bool_]], claim: Claim) -> int:
    """Count the runs behind marked numbers [pair, 2]: a pair is two runs, unless both numbers are of the same one."""
    return int(wrong.sum() if claim.control else wrong.any(1).sum())


def _told(problems: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{what} in {count} run{'s' if count > 1 else ''}" for what, count in problems if count]


def _decide(claim: Claim, effect: Interval, num_seeds: int, problems: list[str]) -> tuple[str, str]:
    reasons = list(problems)
    if claim.role == "reported":
        reasons.append(claim.reason)
    elif num_seeds < MIN_SEEDS:
        reasons.append(f"{num_seeds} of the {MIN_SEEDS} seeds a verdict needs")
    elif math.isnan(effect.low):
        reasons.append("the numbers do not vary, so there is no interval")
    if reasons:
        return "inconclusive", "; ".join(reasons)
    is_level, no_effect = claim.scale == "level", _no_effect(claim)
    if not effect.excludes(no_effect):
        return "inconclusive", f"the interval includes {f'a ratio of {SAME_AS_SAM}' if is_level else 'no effect'}"
    if (effect.high < no_effect) == (claim.direction == "lower"):
        return "supported", f"the whole interval is {'below' if claim.direction == 'lower' else 'above'} no effect"
    if is_level:
        return "contradicted", f"the ratio is about 1 (above {SAME_AS_SAM}): GCSAM equals SAM here"
    return "contradicted", f"the whole interval is {'above' if claim.direction == 'lower' else 'below'} no effect"


def _no_effect(claim: Claim) -> float:
    """Return the effect at which there is none, in the claim's unit."""
    return 100 * (SAME_AS_SAM - 1) if claim.scale == "level" else 0.0


def _corrected(verdict: Verdict, p_corrected: float, confidence: float) -> Verdict:
    """Return the verdict with its corrected p value, and the caveat where a verdict may be luck among so many."""
    is_luck = verdict.verdict != "inconclusive" and not p_corrected < 1 - confidence
    caveats = [verdict.caveat, NOT_CORRECTED if is_luck else ""]
    return replace(verdict, p_corrected=p_corrected, caveat="; ".join(filter(None, caveats)))


def _unmatched(claim: Claim, table: RunTable) -> str:
    """Return why treatment and control are not comparable, or nothing."""
    if not claim.matched:
        return ""
    pairs, problems = _pairs(replace(claim, quantity=claim.matched), table)
    if problems or not len(pairs):
        return f"not known to be at matched {claim.matched}: it is missing or not positive in some runs"
    change = math.expm1(float(np.log(pairs).mean(0) @ [1, -1]))
    return f"not at matched {claim.matched}: it differs by {100 * change:+.0f} %" if abs(change) > MATCHED else ""


def _equal_layers(claim: Claim, table: RunTable) -> str:
    """Return in which layers the ratio is about 1, or nothing."""
    prefix = f"{claim.quantity}."
    names = [name for name in table.columns if name.startswith(prefix)]
    levels = {name: np.array(list(table.by_seed(claim.treatment, name).values())) for name in names}
    equal = [name.removeprefix(prefix) for name, level in levels.items() if _mean(level) > SAME_AS_SAM]
    if not equal:
        return ""
    some = ", ".join(equal[:MAX_NAMES]) + (", ..." if len(equal) > MAX_NAMES else "")
    return f"GCSAM equals SAM (ratio above {SAME_AS_SAM}) in {len(equal)} of {len(names)} layers: {some}"


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else math.nan
