"""Tables of the gradient noise beyond its size: agreement of batches, tails, single weights, beside the curvature.

Without torch, from the stored numbers alone. Right when the words follow from the errors in the file
(`tests/landscape/tables/test_noise_details.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from analysis.store import Measurement
from landscape.tables.noise import with_error

BETTER, WORSE, NEITHER = "better", "worse", "no difference"
STYLES = {BETTER: "green", WORSE: "red"}
SURE = 2.0  # standard errors that both differences must be from zero
KINDS = {"raw": "raw", "centralized": "centralized", "control": "random"}
# What is shown of the tails: quantity, field, method.
TAILS = (
    ("projections", "projection_stable", "McCulloch"),
    ("projections", "projection_hill", "Hill"),
    ("coordinates", "coordinate_hill", "Hill"),
    ("norms", "norm_hill", "Hill"),
)
INDEX = ("value", "interval_low", "interval_high", "gaussian", "gaussian_low", "gaussian_high")
HEAVIER, AS_GAUSSIAN = "heavier", "as Gaussian"


def batch_report(found: Measurement) -> Iterator[Table | str]:
    """Yield the table of mini-batches and what it means.

    Args:
        found: `/noise/minibatch` of a result file.

    Yields:
        Table, then lines.
    """
    yield batch_table(found)
    number, rho = int(found.variables["num_samples"].data), float(found.variables["rho"].data)
    yield (
        f"Cosine between the ascent directions of two disjoint batches of {number} samples: 1 without noise. "
        f"SAM climbs along g, GCSAM along P g, random along g under a random projection of the same rank; +- one "
        f"standard error. better or worse: both differences are {SURE:.0f} standard errors from 0."
    )
    steps = _column(found, "centralized_gain/descent_cosine")
    told = ", ".join(
        f"{_signed(*steps[:, i])} at {int(size)}" for i, size in enumerate(found.variables["batch_sizes"].data)
    )
    yield f"Gradients at w + epsilon, rho {rho:g}, that both step along; cosine of GCSAM less that of SAM: {told}."


def batch_table(found: Measurement) -> Table:
    """Show how far two batches agree on where to climb, at each batch size.

    Args:
        found: `/noise/minibatch` of a result file.

    Returns:
        The table.
    """
    title = "Do two batches agree better on where to climb, if gradients are centralized? Cosine of ascent directions"
    table = Table(title=title, title_justify="left")
    headings = ("batch size", "SAM", "GCSAM", "random", "GCSAM - SAM", "GCSAM - random", "GCSAM agrees")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == headings[-1] else "right", no_wrap=True)
    kinds = [_column(found, f"{kind}/cosine") for kind in ("raw", "centralized", "control")]
    gains = [_column(found, f"{gain}/cosine") for gain in ("centralized_gain", "gain_beyond_control")]
    for i, size in enumerate(found.variables["batch_sizes"].data):
        words = agreement(*(pair[:, i] for pair in gains))
        cells = [_signed(*pair[:, i]) for pair in gains]
        table.add_row(
            str(int(size)),
            *(_plain(*pair[:, i]) for pair in kinds),
            *cells,
            Text(words, style=STYLES.get(words, "")),
        )
    return table


def agreement(to_raw: Any, to_control: Any) -> str:
    """Return whether centralized directions agree better: more than raw ones and more than under chance directions.

    Args:
        to_raw: Difference to the raw ones, and its standard error.
        to_control: The same to the random projection.
    """
    low = [value - SURE * error for value, error in (to_raw, to_control)]
    high = [value + SURE * error for value, error in (to_raw, to_control)]
    if min(low) > 0:
        return BETTER
    return WORSE if max(high) < 0 else NEITHER


def _column(found: Measurement, name: str) -> Any:
    """Return values and standard errors, [2, rows]."""
    group, _, field = name.partition("/")
    columns = found.groups[group].variables
    return np.stack([columns[field].data, columns[f"{field}_standard_error"].data])


def _plain(value: float, error: float) -> str:
    digits = 3 if not error > 0 else int(np.clip(1 - np.floor(np.log10(error)), 2, 4))
    return f"{value:.{digits}f} +- {error:.{digits}f}" if np.isfinite(error) else f"{value:.3f}"


def _signed(value: float, error: float) -> str:
    return f"{'+' if value >= 0 else ''}{_plain(value, error)}"


def tail_report(found: Measurement) -> Iterator[Table | str]:
    """Yield the table of tail exponents over all weights and what it means.

    Args:
        found: `/noise/tails` of a result file.

    Yields:
        Table, then lines.
    """
    number, size = (int(found.variables[name].data) for name in ("num_gradients", "batch_size"))
    table = Table(title=f"Is the noise heavier than Gaussian? All weights, {number} gradients", title_justify="left")
    for heading in ("of", "by", "tail index", "Gaussian", "excess kurtosis", "tails"):
        table.add_column(heading, justify="left" if heading in {"of", "by", "tails"} else "right", no_wrap=True)
    for quantity, name, method in TAILS:
        for kind, title in KINDS.items():
            total = found.groups[kind].groups["total"]
            index = {field: float(total.groups[name].variables[field].data) for field in INDEX}
            place = f"{name.partition('_')[0]}_kurtosis"
            kurtosis = total.variables.get(place)
            error = total.variables.get(f"{place}_standard_error")
            words = heaviness(index)
            table.add_row(
                f"{quantity}, {title}",
                method,
                _range(*(index[field] for field in INDEX[:3])),
                _range(*(index[field] for field in INDEX[3:])),
                "" if kurtosis is None or error is None else with_error(float(kurtosis.data), float(error.data)),
                Text(words, style="red" if words == HEAVIER else ""),
            )
        table.add_section()
    yield table
    yield (
        "tail index: alpha of P(|x| > t) ~ t^-alpha, with a 95 % interval; the smaller the heavier. Gaussian: what "
        "Gaussian noise of the same covariance gives with as many numbers. McCulloch's index is that of a stable law, "
        "2 at most. Where it and Hill's say different laws, it is none: a mixture of calm and noisy samples, perhaps."
    )
    if size > 1:
        yield f"Of random batches of {size} samples."


def heaviness(index: Mapping[str, float]) -> str:
    """Return whether a tail index lies below all that Gaussian noise would give.

    Args:
        index: Fields of `INDEX`.
    """
    if not np.isfinite(index["value"]):
        return "not told"
    return HEAVIER if index["interval_high"] < index["gaussian_low"] else AS_GAUSSIAN


def weight_report(found: Measurement) -> Iterator[Table | str]:
    """Yield the table of signal-to-noise ratios of single weights, by layer.

    Args:
        found: `/noise/snr` of a result file.

    Yields:
        Table, then a line.
    """
    table = Table(title="In which layers is the gradient of single weights clear?", title_justify="left")
    for heading in ("layer", *(f"mean, {title}" for title in KINDS.values()), "median, raw", "constant"):
        table.add_column(heading, justify="left" if heading == "layer" else "right", no_wrap=True)
    names = [*(str(name) for name in found.variables["layers"].data), "all weights"]
    for i, name in enumerate(names):
        if i == len(names) - 1:
            table.add_section()
        cells = [*(_ratio(found, kind, "mean", i) for kind in KINDS), _ratio(found, "raw", "median", i)]
        table.add_row(Text(name), *cells, f"{100 * _of_layer(found, 'raw', 'constant_share', i):.0f} %")
    yield table
    yield (
        "r = G^2 / variance of one weight's gradient over single samples; mean and median over the weights of a layer, "
        "+- one standard error; negative where no signal is told. constant: share of weights whose gradient does not "
        "vary, which do not count."
    )


def spectrum_report(found: Measurement) -> Iterator[Table | str]:
    """Yield the table of the noise beside the curvature.

    Args:
        found: `/noise/covariance` of a result file.

    Yields:
        Table, then a line.
    """
    k = len(found.variables["hessian_values"].data)
    table = Table(title="Does the noise point where the loss is sharp? Covariance of gradients beside the Hessian")
    table.title_justify = "left"
    for heading in ("gradients", "tr(Sigma)", f"in the top {k}", "effective rank", "overlap", "by chance", "alignment"):
        table.add_column(heading, justify="left" if heading == "gradients" else "right", no_wrap=True)
    for kind, title in KINDS.items():
        numbers = {name: v.data for name, v in found.groups[kind].variables.items()}
        table.add_row(
            title,
            f"{float(numbers['trace']):.4g}",
            f"{100 * float(numbers['share']):.0f} %",
            with_error(float(numbers["effective_rank"]), float(numbers["effective_rank_standard_error"])),
            f"{float(numbers['overlap']):.2f}",
            f"{float(numbers['chance']):.1e}",
            with_error(float(numbers["alignment"]), float(numbers["alignment_standard_error"])),
        )
    yield table
    yield (
        f"overlap: of the {k} noisiest directions with the {k} sharpest ones, from 0 to 1. alignment: curvature that "
        "the noise feels, in units of noise that is as strong and the same everywhere: 1 where it does not care. "
        f"Of {int(found.variables['num_samples'].data)} samples."
    )


def _ratio(found: Measurement, kind: str, statistic: str, row: int) -> str:
    value, error = (_of_layer(found, kind, f"{statistic}{end}", row) for end in ("", "_standard_error"))
    return f"{value:.1e} +- {error:.0e}" if np.isfinite(value) else "none"


def _of_layer(found: Measurement, kind: str, name: str, row: int) -> float:
    """Return a number of a layer, or of all weights in the row after the last one."""
    group = found.groups[kind]
    column = group.variables[name].data
    return float(column[row] if row < len(column) else group.groups["total"].variables[name].data)


def _range(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if np.isfinite(value) else "none"
