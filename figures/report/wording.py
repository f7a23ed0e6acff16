"""How numbers and names are said: digits, units, percent lower or higher, and what stored names mean in words.

Right when a number is said with its sign in words and its digits do not pretend (the examples). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from figures.style import look

# What columns of the run table are called in a sentence; a column that is not here is called by its own name.
QUANTITIES = {
    "ascent_ratio": "the ratio q = ‖Pg‖ / ‖g‖",
    "lambda_max": "the largest Hessian eigenvalue",
    "lambda_ratio": "the ratio of the first to the fifth Hessian eigenvalue",
    "trace": "the Hessian trace",
    "trace_centralized": "the Hessian trace along centralized directions",
    "worst": "worst-case sharpness",
    "average": "average-case sharpness",
    "worst_adaptive": "adaptive worst-case sharpness",
    "average_adaptive": "adaptive average-case sharpness",
    "test_accuracy": "test accuracy",
    "generalization_gap": "the generalization gap",
    "epochs_to_target": "the number of epochs to the target accuracy",
    "step_change_variance": "the step-to-step variance of the training loss",
    "step_seconds_median": "the time of a step",
    "gradient_evaluations": "the number of gradient evaluations",
    "step_memory_bytes": "the memory of a step",
    "loss_spikes": "the share of steps whose loss spikes",
    "curve_roughness": "the roughness of the validation curve",
    "lr_area": "the mean accuracy over the grid of learning rates",
    "lr_drop": "the drop of accuracy over the grid of learning rates",
    "rho_area": "the mean accuracy over the grid of rho",
    "rho_drop": "the drop of accuracy over the grid of rho",
    "label_noise_area": "the mean accuracy over the grid of label noise",
    "label_noise_highest": "the accuracy at the highest label noise",
    "corrupted_accuracy": "the accuracy on corrupted images",
    "corruption_gap": "the accuracy lost on corrupted images",
    "online_accuracy": "the online accuracy on the drifting stream",
    **{
        f"{kind}_{part}": text.format(adjective)
        for kind, adjective in (("raw", "raw"), ("centralized", "centralized"), ("control", "randomly projected"))
        for part, text in (
            ("noise_scale", "the relative noise of {} gradients"),
            ("training_noise_scale", "the relative noise of {} gradients on the way"),
            ("noise_trace", "the absolute noise of {} gradients"),
            ("ascent_cosine", "the agreement of {} ascent directions"),
        )
    },
}
POINTS = "percentage points"
NONE = "–"


def quantity(name: str) -> str:
    """Return what a column is called in a sentence.

    Args:
        name: As stored.

    Example:
        >>> quantity("lambda_max"), quantity("time_to_coffee")
        ('the largest Hessian eigenvalue', 'time to coffee')
    """
    return QUANTITIES.get(name, name.replace("_", " "))


def label(name: str) -> str:
    """Return a column's name as a title: the words of `quantity` without the article.

    Args:
        name: As stored.

    Example:
        >>> label("lambda_max")
        'largest Hessian eigenvalue'
    """
    return quantity(name).removeprefix("the ")


def method(name: str) -> str:
    """Return what a method is called; an unknown one by its own name.

    Args:
        name: As stored.
    """
    return look(name).label


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, in powers of ten where it is far from 1.

    Args:
        value: Any.
        digits: Significant.

    Example:
        >>> number(0.012345), number(1234567.0), number(-2.0), number(3e-9), number(float("nan"))
        ('0.0123', '1.23e6', '−2', '3e-9', '–')
    """
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if float(value).is_integer() and abs(value) < 1e6:
        text = f"{value:.0f}"
    else:
        text = f"{value:.{digits}g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.{digits - 1}e}"
        if "e" in text:
            mantissa, _, power = text.partition("e")
            shortened = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
            whole = f"{float(text):.0f}"
            text = whole if 1e-4 <= abs(value) < 1e6 else f"{shortened}e{int(power)}"
    return minus(text if text != "-0" else "0")


def minus(text: str) -> str:
    """Return a number with a real minus sign in front; that of an exponent stays, so that it can be pasted.

    Args:
        text: Of the number.
    """
    return f"−{text[1:]}" if text.startswith("-") else text


def signed(value: float, unit: str) -> str:
    """Return an effect with its sign and unit.

    Args:
        value: In that unit.
        unit: "%", "percentage points", "rank correlation" or another.

    Example:
        >>> signed(-12.34, "%"), signed(0.5, "percentage points"), signed(0.37, "rank correlation")
        ('−12.3 %', '+0.50 pp', '+0.37')
    """
    if not math.isfinite(value):
        return number(value)
    digits = 1 if unit == "%" else 2
    if unit == "%" and abs(value) >= 1000:
        digits = 0
    text = minus(f"{round(value, digits) + 0.0:+.{digits}f}")  # + 0.0: no -0.0
    return " ".join(filter(None, (text, {"%": "%", POINTS: "pp", "rank correlation": ""}.get(unit, unit))))


def amount(value: float, unit: str) -> str:
    """Return the size of an effect without its sign.

    Args:
        value: In that unit.
        unit: As for `signed`.

    Example:
        >>> amount(-12.34, "%"), amount(0.5, "percentage points")
        ('12 %', '0.50 percentage points')
    """
    if unit == "%":
        size = abs(value)
        return f"{size:.0f} %" if size >= 10 else f"{size:.1f} %"
    return f"{abs(value):.2f}{'' if unit in {'', 'rank correlation'} else f' {unit}'}"


def compared(value: float, unit: str) -> str:
    """Return an effect as a comparison in words.

    Args:
        value: In that unit.
        unit: As for `signed`.

    Example:
        >>> compared(-12.34, "%"), compared(0.0, "percentage points"), compared(700.0, "%")
        ('12 % lower', 'no different', '8.0 times as high')
    """
    text = amount(value, unit)
    if not any(digit in text for digit in "123456789"):
        return "no different"
    if unit == "%" and value >= 200:
        factor = 1 + value / 100
        return f"{factor:.1f} times as high" if factor < 100 else f"{number(factor, 2)} times as high"
    return f"{text} {'higher' if value > 0 else 'lower'}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    Args:
        count: How many.
        noun: In the singular.

    Example:
        >>> counted(1, "seed"), counted(2, "seed")
        ('1 seed', '2 seeds')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(items: Sequence[str]) -> str:
    """Return items joined as in a sentence.

    Args:
        items: Any number.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def sentence(text: str) -> str:
    """Return a text that begins with a capital.

    Args:
        text: Any.
    """
    return text[:1].upper() + text[1:]
