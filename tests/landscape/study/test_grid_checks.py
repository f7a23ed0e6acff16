"""Contradictions between the parts of a study are found with their setting. Lines: `test_file.py`."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from landscape.jobs.measurements import Measure
from landscape.study.config import StudyConfig
from landscape.study.grid_checks import problems
from landscape.study.parts import Sweep, Tuning

SEARCH = Tuning(3, (0.01, 0.1), (0.01, 0.1))
GOOD = StudyConfig(
    tuning=SEARCH,
    sweep=Sweep(rho=(0.1, 0.2), methods=("sgd", "sam")),
    measure=Measure(probe="every:5"),
)


def test_a_study_without_contradictions_has_none() -> None:
    assert list(problems(GOOD)) == []
    assert list(problems(StudyConfig(train={"lr": 0.1, "rho": 0.1}))) == []
    assert list(problems(dataclasses.replace(GOOD, tuning=dataclasses.replace(SEARCH, same_as={"sam": "gcsam"})))) == []
    # a radius that is not searched may be given
    assert list(problems(StudyConfig(train={"rho": 0.1}, tuning=Tuning(3, (0.01, 0.1))))) == []


@pytest.mark.parametrize(
    ("changes", "keys", "text"),
    [
        (
            {"train": {"lr": 0.1}},
            ["train", "lr"],
            "train.lr is what [tuning] searches; leave it out there, or lr out of [tuning]",
        ),
        ({"methods": {"sgd": {}, "sam": {"rho": 0.1}}}, ["methods", "sam", "rho"], "methods.sam.rho is what [tuning]"),
        ({"seeds": 1001}, ["seeds"], "seeds must be at most 1000 beside [tuning], got 1001"),
        (
            {"tuning": dataclasses.replace(SEARCH, same_as={"random": "gcsam"})},
            ["tuning", "same_as", "random"],
            "tuning.same_as: 'random' is no method of the study; choose of sgd, gc, sam, gcsam",
        ),
        (
            {"tuning": dataclasses.replace(SEARCH, same_as={"sam": "gcsam", "gcsam": "sam"})},
            ["tuning", "same_as", "sam"],
            "tuning.same_as.sam: 'gcsam' is not searched; choose of sgd, gc",
        ),
        (
            {"tuning": dataclasses.replace(SEARCH, same_as={"sgd": "gcsam"})},
            ["tuning", "same_as", "sgd"],
            "tuning.same_as.sgd: of sgd and gcsam one alone has an ascent, so that rho cannot be shared",
        ),
        (
            {"sweep": Sweep(rho=(0.1, 0.2), methods=("sma",))},
            ["sweep", "methods"],
            "sweep.methods: 'sma' is no method of the study; choose of sgd, gc, sam, gcsam",
        ),
        (
            {"sweep": Sweep(rho=(0.1, 0.2), methods=("sgd", "gc"))},
            ["sweep", "rho"],
            "sweep.rho acts on no method of the sweep: none has an ascent; name one, or leave it out",
        ),
        ({"measure": Measure(probe="always")}, ["measure", "probe"], "measure.probe: "),
    ],
)
def test_each_contradiction_is_told(changes: dict[str, Any], keys: list[str], text: str) -> None:
    found = list(problems(dataclasses.replace(GOOD, **changes)))
    assert found[0][0] == keys
    assert found[0][1].startswith(text)
