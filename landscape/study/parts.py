"""What a study may hold beside its methods and seeds: a search for lr and rho, and sweeps.

Plain data, like the study itself. Right when JSON gives each back equal, and every method gets as many trials
(`tests/landscape/study/test_parts.py`). Costs nothing; needs no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

# The settings of training that a sweep can vary, in the order in which they are swept.
SWEPT = ("lr", "rho", "label_noise")


@dataclass(frozen=True)
class Tuning:
    """A search for the settings of each method, as many trials for one as for any other.

    Args:
        trials: Settings that are tried for each method, >= 1.
        lr: Ends of the range of learning rates, searched on a logarithmic scale.
        rho: The same for the radius, searched by the methods with an ascent. None: it is left as it is.
        seeds: Runs of each trial; 1, because a trial more tells more than a seed more (our choice).
        same_as: Methods that are not searched: method to the one whose settings it takes. For controls, which have to
            differ from what they control in one thing alone: "SAM at the radius of GCSAM" with a rate and a radius of
            its own would be none.

    Example:
        >>> Tuning(trials=3, lr=(0.01, 1.0)).points(with_rho=False)
        [{'lr': 0.01}, {'lr': 0.1}, {'lr': 1.0}]
    """

    # Seeds from here on are those of tuning; a study has fewer, so no judged run has one of them.
    FIRST_SEED: ClassVar[int] = 1000

    trials: int
    lr: tuple[float, float]
    rho: tuple[float, float] | None = None
    seeds: int = 1
    same_as: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Tuning:
        """Return what JSON or TOML holds, where pairs are lists."""
        ends = {name: tuple(values[name]) for name in ("lr", "rho") if values.get(name) is not None}
        return cls(**{**values, **ends})

    def points(self, *, with_rho: bool) -> list[dict[str, float]]:
        """Return the settings of each trial.

        Every method tries the same learning rates, evenly spaced on a logarithmic scale, both ends included. Those with
        a radius try as many different ones beside them, matched to the rates as the points of a rank-1 lattice
        (Korobov's construction). Not a grid, because nine trials as 3 x 3 would try three rates where the methods
        without a radius try nine. Not random points, because a lattice has no seed that could be chosen, and is the
        same with every version of every library.

        Args:
            with_rho: Whether the method has an ascent.

        Returns:
            For each trial a value of lr, and of rho where it is searched.

        References:
            Korobov, Dokl. Akad. Nauk SSSR 124 (1959); Bergstra and Bengio, JMLR 13 (2012), against grids.
        """
        rates = _spaced(self.lr, self.trials)
        if self.rho is None or not with_rho:
            return [{"lr": rate} for rate in rates]
        radii = _spaced(self.rho, self.trials)
        return [{"lr": rate, "rho": radii[k]} for rate, k in zip(rates, matched(self.trials), strict=True)]

    def ends(self, point: Mapping[str, float]) -> list[str]:
        """Return which of the settings of a trial are an end of their range; none where every trial is at one.

        Args:
            point: As from `points`.
        """
        ranges = {"lr": self.lr, "rho": self.rho}
        return [name for name, value in point.items() if self.trials > 2 and value in (ranges[name] or ())]


@dataclass(frozen=True)
class Sweep:
    """Runs over a grid of one setting at a time, all else as in the study.

    Args:
        lr: Learning rates, in rising order.
        rho: Radii, of the methods with an ascent; likewise.
        label_noise: Shares of wrong training labels, likewise.
        methods: That are swept. Empty: all on which the setting acts.
    """

    lr: tuple[float, ...] = ()
    rho: tuple[float, ...] = ()
    label_noise: tuple[float, ...] = ()
    methods: tuple[str, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Sweep:
        """Return what JSON or TOML holds, where tuples are lists."""
        return cls(**{name: tuple(value) for name, value in values.items()})

    def grids(self) -> dict[str, tuple[float, ...]]:
        """Return the swept settings with their values."""
        return {name: getattr(self, name) for name in SWEPT if getattr(self, name)}


def matched(count: int) -> tuple[int, ...]:
    """Return for each of the first numbers a partner, so that the points (i, partner) are spread well over a square.

    Of all lattices i -> g i mod count, and those modulo count + 1 without 0, the one whose two nearest points are
    farthest apart; of equals the least correlated.

    Args:
        count: Of points, >= 1.

    Returns:
        A permutation of 0 to count - 1.

    Example:
        >>> [matched(count) for count in (1, 3, 5, 9)]
        [(0,), (0, 2, 1), (0, 2, 4, 1, 3), (2, 5, 8, 1, 4, 7, 0, 3, 6)]
    """
    own = [tuple(g * i % count for i in range(count)) for g in range(1, count + 1) if math.gcd(g, count) == 1]
    wider = count + 1
    inner = [tuple(g * i % wider - 1 for i in range(1, wider)) for g in range(1, wider) if math.gcd(g, wider) == 1]

    def merit(partners: tuple[int, ...]) -> tuple[int, float]:
        pairs = itertools.combinations(enumerate(partners), 2)
        nearest = min(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 for a, b in pairs), default=0)
        middle = (count - 1) / 2
        return nearest, -abs(sum((i - middle) * (k - middle) for i, k in enumerate(partners)))

    return max(own + inner, key=merit)


def _spaced(ends: tuple[float, float], count: int) -> list[float]:
    """Return numbers evenly spaced on a logarithmic scale, in three digits but for the ends, to be written down."""
    low, high = ends
    if count == 1:
        return [float(f"{math.sqrt(low * high):.3g}")]
    inner = [float(f"{low * (high / low) ** (i / (count - 1)):.3g}") for i in range(1, count - 1)]
    return [low, *inner, high]
