"""What a study is: its runs and what is measured on each, stored beside its results so that it cannot change midway.

Right when a second start with other settings is refused with the names of those that differ, and more seeds, methods
or measurements go on (`tests/landscape/study/test_config.py`). Costs nothing; needs no torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.store import place_free
from landscape.jobs.job import Job, differing, without_places
from landscape.jobs.measurements import Measure, Measurements
from landscape.records.layout import write_text
from landscape.study.parts import Sweep, Tuning

CONFIG_FILE = "study.json"
BATCH_SIZE, EPOCHS = 32, 30  # the defaults of `landscape train`


@dataclass(frozen=True)
class StudyConfig:
    """Settings of a study.

    Args:
        train: Settings of `gcsam.training.TrainConfig` that all runs share; what is left out has its default there.
        methods: Trained with each seed: a name, and the settings in which it differs from `train`. Without the setting
            "method" the name is one of `gcsam.training.METHODS`.
        seeds: 0 to seeds - 1; runs of one seed are paired.
        points: Of the surfaces, along both directions. 25, our choice: a tenth of the time of a study.
        rho: Radius of the sharpness measurements; 0.05, the default of SAM (Foret et al. 2021).
        samples: Training samples that are measured on, or None for all.
        tuning: A search for the settings of each method, before anything is judged; None for none.
        sweep: Runs over grids of single settings, beside the study's own.
        measure: What is measured on the study's own runs.
    """

    train: dict[str, Any] = dataclasses.field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=lambda: {name: {} for name in ("sgd", "gc", "sam", "gcsam")}
    )
    seeds: int = 3
    points: int = 25
    rho: float = 0.05
    samples: int | None = None
    tuning: Tuning | None = None
    sweep: Sweep = dataclasses.field(default_factory=Sweep)
    measure: Measure = dataclasses.field(default_factory=Measure)

    def jobs(self, chosen: Mapping[str, Mapping[str, float]] | None = None) -> list[Job]:
        """Return the runs as jobs, seed by seed, so that a stopped study holds whole pairs.

        Args:
            chosen: Method to the settings that a search found for it.
        """
        measurements = self.measurements() if self.measure.of else None
        watching = self.measure if self.measure.probe else None
        return [
            Job(method, seed, self.settings(method, seed, chosen), measurements, watching=watching)
            for method, seed in self.runs()
        ]

    def measurements(self) -> Measurements:
        """Return what is measured on each run."""
        return Measurements(self.rho, self.points, self.samples, self._batch_size(), self.measure.of)

    def _batch_size(self) -> int:
        """Return that of the batches whose ascent directions are compared: of training, or half of few samples."""
        limits = [limit for limit in (self.samples, self.train.get("train_limit")) if limit is not None]
        return int(min([self.train.get("batch_size", BATCH_SIZE), *(limit // 2 for limit in limits)]))

    def runs(self) -> list[tuple[str, int]]:
        """Return method and seed of each run, seed by seed, so that a stopped study holds whole pairs."""
        return [(method, seed) for seed in range(self.seeds) for method in self.methods]

    def settings(
        self, method: str, seed: int, chosen: Mapping[str, Mapping[str, float]] | None = None
    ) -> dict[str, Any]:
        """Return the settings of `gcsam.training.TrainConfig` of one run.

        Args:
            method: Its name in the study.
            seed: Of initialization and data order.
            chosen: As for `jobs`.
        """
        found = (chosen or {}).get(method, {})
        return {"method": method, **self.train, **self.methods[method], **found, "seed": seed}

    def ascends(self, method: str) -> bool:
        """Return whether a method climbs before it descends, so that rho acts on it; loads torch.

        Args:
            method: Its name in the study.
        """
        from gcsam.training import METHODS

        settings = self.settings(method, 0)
        return bool(METHODS[settings["method"]]["ascends"] and settings.get("rho", 1) > 0)

    def without_places(self) -> StudyConfig:
        """Return the same study without the folders its data lie in, which say nothing on another machine."""
        methods = {name: without_places(own) for name, own in self.methods.items()}
        return dataclasses.replace(self, train=without_places(self.train), methods=methods)

    def to_json(self) -> str:
        """Return all settings as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> StudyConfig:
        """Read what `to_json` wrote.

        Args:
            text: JSON.

        Returns:
            The settings.

        Raises:
            ValueError: It is none.
        """
        try:
            values = json.loads(text)
            methods = values["methods"]
            if isinstance(methods, list):  # as earlier versions wrote them
                methods = {name: {} for name in methods}
            values["methods"] = {name: dict(settings) for name, settings in methods.items()}
            for name, kind in (("tuning", Tuning), ("sweep", Sweep), ("measure", Measure)):
                if values.get(name) is not None:
                    values[name] = kind.from_values(values[name])
            return cls(**values)
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"it holds no settings of a study ({type(error).__name__}: {error})") from None

    def differences(self, stored: StudyConfig) -> list[str]:
        """Return what differs from other settings, a text for each: "seeds 5, stored 3".

        Where the data lie makes no difference: they may be moved between two calls.

        Args:
            stored: The other ones.
        """
        mine, theirs = (_compared(config) for config in (self, stored))
        return differing(mine, theirs)


# A small study shows in a minute that everything works; its numbers mean nothing.
QUICK = {"epochs": 2, "train_limit": 120, "test_limit": 60}


def reduced(config: StudyConfig) -> StudyConfig:
    """Return a small copy of a study, for a look at how things work: two trials, and the ends of each grid.

    Args:
        config: The study.
    """
    tuning = config.tuning and dataclasses.replace(config.tuning, trials=2, seeds=1)
    ends: dict[str, Any] = {name: values[:1] + values[1:][-1:] for name, values in config.sweep.grids().items()}
    sweep = dataclasses.replace(config.sweep, **ends)
    methods = {name: {k: v for k, v in own.items() if k not in QUICK} for name, own in config.methods.items()}
    for name, own in config.methods.items():
        if "epochs" in own:  # those of a fair baseline stay twice those of the others
            share = own["epochs"] / config.train.get("epochs", EPOCHS)
            methods[name]["epochs"] = max(1, round(share * QUICK["epochs"]))
    train = {**config.train, **QUICK}
    if "drift_after" in train:
        train["drift_after"] = min(train["drift_after"], 1)  # of the two epochs one is left for the stream
    return dataclasses.replace(config, train=train, methods=methods, points=5, tuning=tuning, sweep=sweep)


def claim_directory(config: StudyConfig, directory: Path) -> None:
    """Note the settings in a study's directory, or check that it was begun with them; more may be added.

    Seeds and methods may be added, and measurements to those of a study that measures any: runs that only train are
    other jobs.

    Args:
        config: The settings.
        directory: Made where it is not.

    Raises:
        ValueError: It was begun with other settings.
    """
    path = directory / CONFIG_FILE
    if not path.exists():
        write_text(path, config.to_json())
        return
    try:
        stored = StudyConfig.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; give another --output, or delete it") from None
    differences = config.differences(stored)
    seeds, methods = max(config.seeds, stored.seeds), {**config.methods, **stored.methods}
    of = config.measure.of if set() < set(stored.measure.of) <= set(config.measure.of) else stored.measure.of
    measure = dataclasses.replace(stored.measure, of=of)
    wider = dataclasses.replace(stored, seeds=seeds, methods=methods, measure=measure)
    if differences and not config.differences(wider):
        write_text(path, config.to_json())  # the runs that are there are among those wanted
    elif differences:
        raise ValueError(
            f"{directory} holds a study with other settings ({'; '.join(differences)}); give the same, or another "
            "--output"
        )


def _compared(config: StudyConfig) -> dict[str, Any]:
    """Return what makes two studies the same, by name."""
    found = dict(_flat(dataclasses.asdict(config)))
    return {"methods": ", ".join(sorted(config.methods)), **found}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif name == "data":
            yield f"{prefix}{name}", place_free(str(value))
        elif value is not None and name != "root":
            yield f"{prefix}{name}", value
