"""What a training run is: its data, network, method and settings, checked once and then fixed.

Every field that decides a number of the run is here, so two runs with equal configurations are the same run. Right
when every mistake is one line that names the field, what was given and what is allowed, and JSON gives back an equal
configuration (`tests/gcsam/training/test_config.py`). Cost: none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gcsam.training.base_options import OPTIMIZERS, base_arguments, check_base_options
from gcsam.training.drift import NO_DRIFT, check_drift
from gcsam.training.functions import check_name
from gcsam.training.methods import METHODS, OVERRIDES
from gcsam.training.models import MODELS

__all__ = ["DATA_NAMES", "METHODS", "MODELS", "OPTIMIZERS", "TrainConfig", "resolve_device"]

DATA_NAMES = ("digits", "cifar10")
"""Data sets known by name; beside them "npz:FILE", "folder:DIR" and "package.module:function"."""

_WITH_MOMENTUM = ("SGD", "RMSprop")
_WITHOUT_DECAY = ("Rprop",)


class TrainConfig(BaseModel):
    """Settings of one training run; frozen. The defaults are the digits study's, which needs no files and no GPU.

    Args:
        data: "digits", "cifar10", "npz:FILE" (the MedMNIST layout), "folder:DIR" (class folders of images) or
            "package.module:function", which returns `Splits` or {split: (inputs, targets)}.
        root: Folder of a data set known by name: cifar10 looks for `cifar-10-batches-py` in it, or takes it for that.
        model: A name of `MODELS`, or "package.module:function", which returns the network.
        method: A name of `METHODS`.
        rho: Radius of the ascent, >= 0; 0.05 is the default of Foret et al. (arXiv 2010.01412). Unused by sgd and gc.
        adaptive: Scale the ball by the weights, as ASAM does.
        eta: Offset of the scale in adaptive mode, >= 0; 0.01 as in Kwon et al. (arXiv 2102.11600).
        radius: "exact", "published" or "matched", as in `gcsam.GCSAM`. Left out, it is the method's own: "matched" for
            sam-matched, else "exact".
        centralize_ascent: In the place of the method's own switch; as the next three, None is the method's.
        centralize_descent: Likewise.
        projection: "mean" or "random".
        friendly: Share of the average gradient taken away on the way up, >= 0.
        friendly_decay: Of that average, in [0, 1); 0.9 as in the code of Li et al. (arXiv 2403.12350).
        optimizer: Class of torch.optim that takes the steps.
        lr: Learning rate, > 0. Our choice: every method is within two of 359 validation images of its best there
            (digits, `benchmarks/tune_digits.py`).
        momentum: In [0, 1), for SGD and RMSprop only. None: 0.9 for SGD, and the optimizer's own default otherwise.
        weight_decay: >= 0; acts in the base optimizer's step.
        optimizer_options: Further arguments of that class by name, such as {"betas": [0.9, 0.99]} or {"nesterov":
            True}.
        epochs: Passes over the training split, >= 1.
        batch_size: Largest batch, >= 1. An epoch is cut into equal batches, so no small one is left at its end.
        schedule: "cosine" lowers the learning rate to 0 over the run; "onecycle" raises it first; "constant" keeps it
            (`gcsam.training.schedules`).
        label_noise: Share of the training labels replaced by other classes, in [0, 1); the same ones at every seed.
        label_smoothing: Of the loss that is trained on, in [0, 1] (Szegedy et al., arXiv 1512.00567); the training loss
            of the history is that loss, all others are plain cross entropies.
        augment: "crop-flip" shifts and flips each training image at random, on its device. "none": as it is.
        compile: Run the network through torch.compile while it trains.
        perturbation: In several processes, "global" (one epsilon) or "local" (each process its own), as in
            `gcsam.GCSAM`.
        seed: Of initialization, order of the data, augmentation and dropout, >= 0. The splits do not depend on it.
        device: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".
        train_limit: Train on at most this many images, the first of a fixed shuffle. None: all.
        test_limit: The same for the validation and for the test split, each.
        image_size: Resize the images of a folder to this many pixels a side. None: they must agree.
        select: "validation" keeps the weights of the latest epoch whose validation accuracy is within one standard
            error (binomial) of the best: the rule of Breiman et al. (1984). The best epoch itself is chosen by luck
            among near-equal ones, at various depths of training, and minima must be compared at equal depth.
            "last" keeps the last, and is the default where there is a drift.
        drift: Name of a corruption (`gcsam.training.corruptions`) under which the images drift while they are trained
            on; an epoch is then an hour of a stream (`gcsam.training.drift`). "none": no drift. A learning rate that
            ends at 0 cannot follow one: take schedule "constant".
        drift_severity: Of the last hour, in (0, 5]; it rises linearly by the hour.
        drift_after: Clean epochs before the stream begins, < epochs.
        drift_stream: "fresh" gives each hour images that no epoch saw before: equal parts of the training images, or of
            their second half where the first was trained on in clean epochs. "repeat" gives every hour all of them.
        trajectory_every: Keep the weights of every so many epochs, the initial ones included. 0: none.
        trajectory_every_steps: The same for every so many steps, beside those.

    Raises:
        ValueError: One line: the field, what was given, what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    data: str = "digits"
    root: str | None = None
    model: str = "cnn"
    method: str = "gcsam"
    rho: float = Field(default=0.05, ge=0)
    adaptive: bool = False
    eta: float = Field(default=0.01, ge=0)
    radius: Literal["exact", "published", "matched"] = "exact"
    centralize_ascent: bool | None = None
    centralize_descent: bool | None = None
    projection: Literal["mean", "random"] | None = None
    friendly: float | None = Field(default=None, ge=0)
    friendly_decay: float = Field(default=0.9, ge=0, lt=1)
    optimizer: str = "SGD"
    lr: float = Field(default=0.05, gt=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    optimizer_options: dict[str, Any] = Field(default_factory=dict)
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=32, ge=1)
    schedule: Literal["constant", "cosine", "onecycle"] = "cosine"
    label_noise: float = Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, le=1)
    augment: Literal["none", "crop-flip"] = "none"
    compile: bool = False
    perturbation: Literal["global", "local"] = "global"
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    train_limit: int | None = Field(default=None, ge=1)
    test_limit: int | None = Field(default=None, ge=1)
    image_size: int | None = Field(default=None, ge=1)
    select: Literal["validation", "last"] = "validation"
    drift: str = NO_DRIFT
    drift_severity: float = Field(default=3.0, gt=0, le=5)
    drift_after: int = Field(default=0, ge=0)
    drift_stream: Literal["fresh", "repeat"] = "fresh"
    trajectory_every: int = Field(default=0, ge=0)
    trajectory_every_steps: int = Field(default=0, ge=0)

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ValueError(_one_line(error)) from None

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Read what `to_json` wrote.

        Args:
            text: A JSON object; fields left out take their defaults.

        Returns:
            The checked configuration.

        Raises:
            ValueError: It is no JSON object, or a field is wrong.
        """
        try:
            settings = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"a training configuration must be a JSON object; it does not parse: {error}") from None
        if not isinstance(settings, dict):
            raise ValueError(f"a training configuration must be a JSON object, got {type(settings).__name__}")
        return cls(**settings)

    def to_json(self) -> str:
        """Return all fields as one line of JSON."""
        return json.dumps(self.model_dump())

    def replace(self, **changes: Any) -> TrainConfig:
        """Return a checked copy with some fields changed.

        Args:
            **changes: Field to new value.
        """
        kept = self.model_dump()
        if "optimizer" in changes:  # the other one may have none of them
            del kept["momentum"], kept["optimizer_options"]
        if any("radius" in METHODS.get(str(name), {}) for name in (self.method, changes.get("method"))):
            del kept["radius"]  # it was, or will be, the method's own
        return type(self)(**{**kept, **changes})

    def differences(self, other: TrainConfig) -> list[str]:
        """Return the fields in which another configuration differs, each as "lr 0.1, not 0.05".

        The folder in which data lie is no difference: they may have been moved between two calls.

        Args:
            other: What this one is compared with; its values come second.
        """
        mine, theirs = ({**config.model_dump(exclude={"root"}), "data": config._data_name} for config in (self, other))
        return [f"{name} {mine[name]!r}, not {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]

    @property
    def _data_name(self) -> str:
        kind, _, path = self.data.partition(":")
        return f"{kind}:{Path(path).name}" if kind in {"npz", "folder"} else self.data

    def optimizer_arguments(self) -> dict[str, Any]:
        """Return the arguments of `gcsam.GCSAM` after the class of the base optimizer."""
        switches = dict(METHODS[self.method])
        arguments: dict[str, Any] = {"rho": self.rho if switches.pop("ascends") else 0.0, **switches}
        arguments |= {name: getattr(self, name) for name in OVERRIDES if getattr(self, name) is not None}
        arguments |= {"adaptive": self.adaptive, "eta": self.eta, "radius": self.radius}
        arguments |= {"friendly_decay": self.friendly_decay, "perturbation": self.perturbation}
        arguments |= {"projection_seed": self.seed % 2**32}
        return arguments | self._base_settings() | base_arguments(self.optimizer_options)

    def _base_settings(self) -> dict[str, Any]:
        given: dict[str, Any] = {"lr": self.lr}
        if self.momentum is not None:
            given["momentum"] = self.momentum
        if self.optimizer not in _WITHOUT_DECAY:
            given["weight_decay"] = self.weight_decay
        return given

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Make paths absolute, so that a run can be opened from elsewhere, and settings of one's own what they are."""
        settings = dict(settings)
        own = METHODS.get(str(settings.get("method")), {})
        if "radius" in own:
            settings.setdefault("radius", own["radius"])
        options = settings.get("optimizer_options")
        if isinstance(options, dict):  # as JSON gives them back
            options = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
            settings["optimizer_options"] = options
        if isinstance(settings.get("root"), (str, os.PathLike)):
            settings["root"] = str(Path(settings["root"]).expanduser().absolute())
        kind, _, path = str(settings.get("data", "")).partition(":")
        if kind in {"npz", "folder"} and path:
            settings["data"] = f"{kind}:{Path(path).expanduser().absolute()}"
        if settings.get("momentum") is None and settings.get("optimizer", "SGD") == "SGD":
            settings["momentum"] = 0.9
        if settings.get("drift", NO_DRIFT) != NO_DRIFT:
            settings.setdefault("select", "last")
        return settings

    @model_validator(mode="after")
    def _check_names(self) -> TrainConfig:
        kind, _, path = self.data.partition(":")
        if kind not in {"npz", "folder"} or not path:
            names = [*DATA_NAMES, "npz:FILE", "folder:DIR"]
            check_name(self.data, names, "data", functions=True)
            if self.data in names[2:]:
                raise ValueError(f"data {self.data!r} stands for a path; give the path, for example npz:scans.npz")
        check_name(self.model, MODELS, "model", functions=True)
        check_name(self.method, METHODS, "method")
        check_name(self.optimizer, OPTIMIZERS, "optimizer")
        check_drift(self)
        if self.data == "cifar10" and self.root is None:
            raise ValueError("data 'cifar10' needs root, the folder that holds cifar-10-batches-py; got none")
        if self.momentum is not None and self.optimizer not in _WITH_MOMENTUM:
            raise ValueError(
                f"momentum must be left out with optimizer {self.optimizer}, got {self.momentum}; "
                f"only {' and '.join(_WITH_MOMENTUM)} take it"
            )
        check_base_options(self.optimizer, self.optimizer_options, self._base_settings())
        own = METHODS[self.method].get("radius", self.radius)
        if self.radius != own:
            raise ValueError(f"radius must be {own!r} with method {self.method}, or left out, got {self.radius!r}")
        if self.perturbation == "local" and self.optimizer_arguments().get("friendly"):
            raise ValueError(
                "perturbation must be 'global' with Friendly-SAM, got 'local': each process would have an average of "
                "its own, and a checkpoint holds one"
            )
        return self


def resolve_device(device: str) -> torch.device:
    """Return the device a setting stands for.

    Args:
        device: As in `TrainConfig`.

    Raises:
        ValueError: A CUDA device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if count else "cpu")
    found = torch.device(device)
    if found.type == "cuda" and (found.index or 0) >= count:
        raise ValueError(f"device {device!r} is not there: torch sees {count} CUDA devices; give cpu or auto")
    return found


def _one_line(error: ValidationError) -> str:
    """Return the first problem as one line: the field, what was given, what is allowed."""
    problem = error.errors(include_url=False)[0]
    where, given = ".".join(str(part) for part in problem["loc"]), problem["input"]
    if problem["type"] == "value_error":  # raised by a check of ours, which says it all
        return str(problem["ctx"]["error"])
    if problem["type"] == "extra_forbidden":
        try:
            check_name(where, TrainConfig.model_fields, "setting")
        except ValueError as unknown:
            return str(unknown)
    text = problem["msg"][0].lower() + problem["msg"][1:]
    text = text.removeprefix("input ").replace("should", "must")
    if problem["type"] == "string_pattern_mismatch":
        text = "must be auto, cpu, cuda or cuda:N"
    return f"{where} {text}, got {given!r}"
