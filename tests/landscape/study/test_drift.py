"""The shipped study of a drift: it reads, and is the fair comparison that it says it is."""

from __future__ import annotations

from pathlib import Path

import landscape
from gcsam.training import TrainConfig, load_data
from gcsam.training.drift import Stream
from landscape.study.file import read_study

PATH = Path(landscape.__file__).parent / "studies" / "digits-drift.toml"


def test_methods_differ_in_nothing_but_their_name_and_the_hours_are_as_described() -> None:
    """Fails if the file drifts from its comment: 10 clean epochs, 12 hours of 45 images, 32 degrees at the end."""
    config = read_study(PATH)
    assert config.seeds >= 5
    settings = [TrainConfig(**config.settings(method, 0)) for method in ("sgd", "gc", "sam", "gcsam")]
    assert len(config.methods) == len(settings)
    assert len({run.replace(method="sgd").to_json() for run in settings}) == 1
    stream = Stream(settings[0], load_data(settings[0], "cpu"))
    assert [stream.severity(epoch) for epoch in (10, 22)] == [0.0, 4.0]
    assert {len(stream.train(epoch)) for epoch in range(11, 23)} == {45}
    assert (settings[0].schedule, settings[0].select) == ("constant", "last")
