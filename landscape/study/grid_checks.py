"""Contradictions between the parts of a study: what a search or sweep sets must be set nowhere else, and must act.

Each is told before anything runs. Right when every one is found with the setting it is about
(`tests/landscape/study/test_grid_checks.py`). Cost: importing torch, to know the methods.
"""

from __future__ import annotations

from collections.abc import Iterator

from landscape.study.config import StudyConfig
from landscape.study.tuning import searched_methods


def problems(config: StudyConfig) -> Iterator[tuple[list[str], str]]:
    """Yield what is wrong with a study whose methods are known to be right.

    Args:
        config: The study.

    Yields:
        The setting, from the outermost table on, and what is wrong with it.
    """
    if config.tuning is not None:
        yield from _set_twice(config)
        yield from _led_astray(config)
    yield from _unswept(config)
    if config.measure.probe:
        from landscape.measuring.probing import wish

        try:
            asked = config.measure
            wish(asked.probe, asked.probe_budget, asked.probe_samples, asked.probe_of)
        except ValueError as error:
            yield ["measure", "probe"], f"measure.probe: {error}"


def _set_twice(config: StudyConfig) -> Iterator[tuple[list[str], str]]:
    assert config.tuning is not None
    searched = ["lr"] if config.tuning.rho is None else ["lr", "rho"]
    tables = [(["train"], config.train), *((["methods", name], own) for name, own in config.methods.items())]
    for table, settings in tables:
        for key in (key for key in searched if key in settings):
            named = ".".join([*table, key])
            yield [*table, key], f"{named} is what [tuning] searches; leave it out there, or {key} out of [tuning]"
    if config.seeds > config.tuning.FIRST_SEED:
        yield ["seeds"], f"seeds must be at most {config.tuning.FIRST_SEED} beside [tuning], got {config.seeds}"


def _led_astray(config: StudyConfig) -> Iterator[tuple[list[str], str]]:
    """Yield methods that take settings which nobody searches, or which do not fit them."""
    assert config.tuning is not None
    searched = searched_methods(config)
    for name, other in config.tuning.same_as.items():
        at = ["tuning", "same_as", name]
        if name not in config.methods:
            yield at, f"tuning.same_as: {name!r} is no method of the study; choose of {', '.join(config.methods)}"
        elif other not in searched:
            yield at, f"tuning.same_as.{name}: {other!r} is not searched; choose of {', '.join(searched) or 'none'}"
        elif config.tuning.rho is not None and config.ascends(name) != config.ascends(other):
            yield (
                at,
                f"tuning.same_as.{name}: of {name} and {other} one alone has an ascent, so that rho cannot be shared",
            )


def _unswept(config: StudyConfig) -> Iterator[tuple[list[str], str]]:
    unknown = [name for name in config.sweep.methods if name not in config.methods]
    for name in unknown:
        known = ", ".join(config.methods)
        yield ["sweep", "methods"], f"sweep.methods: {name!r} is no method of the study; choose of {known}"
    if unknown:
        return
    if config.sweep.rho and not any(config.ascends(name) for name in config.sweep.methods or config.methods):
        yield (
            ["sweep", "rho"],
            "sweep.rho acts on no method of the sweep: none has an ascent; name one, or leave it out",
        )
