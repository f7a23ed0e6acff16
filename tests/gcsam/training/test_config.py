"""Settings of a run: checked once, in one line, and equal after a trip through JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gcsam.training import METHODS, OPTIMIZERS, TrainConfig
from gcsam.training.config import resolve_device


def test_defaults_need_nothing() -> None:
    config = TrainConfig()
    assert (config.data, config.model, config.method, config.device) == ("digits", "cnn", "gcsam", "auto")
    assert config.momentum == 0.9


def test_json_gives_back_an_equal_configuration() -> None:
    config = TrainConfig(lr=0.3, train_limit=10, root="some/where", optimizer="Adam", data="npz:x.npz")
    assert TrainConfig.from_json(config.to_json()) == config
    assert "\n" not in config.to_json()


@pytest.mark.parametrize("field", ["data", "root"])
def test_paths_are_made_absolute(field: str) -> None:
    given = {"data": "folder:~/images", "root": "~/images"}[field]
    found = getattr(TrainConfig(**{field: given}), field)
    assert found == ("folder:" if field == "data" else "") + str(Path("~/images").expanduser())
    assert str(Path.cwd()) in str(getattr(TrainConfig(**{field: given.replace("~/", "")}), field))


def test_it_is_frozen() -> None:
    with pytest.raises(Exception, match=r"frozen"):
        TrainConfig().lr = 1.0  # type: ignore[misc]


def test_replacing_checks_again() -> None:
    assert TrainConfig().replace(lr=0.5).lr == 0.5
    assert TrainConfig().replace(optimizer="Adam").momentum is None
    with pytest.raises(ValueError, match=r"lr must be greater than 0, got -1"):
        TrainConfig().replace(lr=-1.0)


def test_differences_are_named() -> None:
    assert TrainConfig().differences(TrainConfig()) == []
    assert TrainConfig(lr=0.5).differences(TrainConfig(lr=0.25)) == ["lr 0.5, not 0.25"]


def test_data_that_were_moved_are_the_same_and_other_data_are_not() -> None:
    here, there = (TrainConfig(data=f"npz:{folder}/scans.npz", root=folder) for folder in ("/a", "/b"))
    assert here.differences(there) == []
    assert here.differences(TrainConfig(data="npz:/a/others.npz")) == ["data 'npz:scans.npz', not 'npz:others.npz'"]
    assert TrainConfig().differences(here) == ["data 'digits', not 'npz:scans.npz'"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "^lr must be greater than 0, got 0.0$"),
        ({"lr": float("nan")}, "^lr must be a finite number, got nan$"),
        ({"lr": float("inf")}, "^lr must be a finite number, got inf$"),
        ({"lr": "big"}, "^lr must be a valid number, got 'big'$"),
        ({"rho": -0.1}, "^rho must be greater than or equal to 0, got -0.1$"),
        ({"rho": float("nan")}, "^rho must be a finite number, got nan$"),
        ({"epochs": 0}, "^epochs must be greater than or equal to 1, got 0$"),
        ({"epochs": 1.5}, "^epochs must be a valid integer, got 1.5$"),
        ({"batch_size": 0}, "^batch_size must be greater than or equal to 1, got 0$"),
        ({"momentum": 1.0}, "^momentum must be less than 1, got 1.0$"),
        ({"weight_decay": -1.0}, "^weight_decay must be greater than or equal to 0, got -1.0$"),
        ({"seed": -1}, "^seed must be greater than or equal to 0, got -1$"),
        ({"train_limit": 0}, "^train_limit must be greater than or equal to 1, got 0$"),
        ({"device": "gpu"}, "^device must be auto, cpu, cuda or cuda:N, got 'gpu'$"),
        ({"radius": "exakt"}, "^radius must be 'exact', 'published' or 'matched', got 'exakt'$"),
        ({"eta": float("nan")}, "^eta must be a finite number, got nan$"),
        ({"eta": -0.1}, "^eta must be greater than or equal to 0, got -0.1$"),
        ({"friendly": -1.0}, "^friendly must be greater than or equal to 0, got -1.0$"),
        ({"friendly": float("nan")}, "^friendly must be a finite number, got nan$"),
        ({"friendly_decay": 1.0}, "^friendly_decay must be less than 1, got 1.0$"),
        ({"centralize_ascent": "no"}, "^centralize_ascent must be a valid boolean, got 'no'$"),
        ({"centralize_descent": 1}, "^centralize_descent must be a valid boolean, got 1$"),
        ({"projection": "rows"}, "^projection must be 'mean' or 'random', got 'rows'$"),
        (
            {"method": "sam-matched", "radius": "exact"},
            "^radius must be 'matched' with method sam-matched, or left out, got 'exact'$",
        ),
        ({"method": "fsam", "perturbation": "local"}, "^perturbation must be 'global' with Friendly-SAM, got 'local'"),
        ({"schedule": "linear"}, "^schedule must be 'constant', 'cosine' or 'onecycle', got 'linear'$"),
        ({"augment": "flip"}, "^augment must be 'none' or 'crop-flip', got 'flip'$"),
        ({"perturbation": "shared"}, "^perturbation must be 'global' or 'local', got 'shared'$"),
        ({"label_noise": 1.0}, "^label_noise must be less than 1, got 1.0$"),
        ({"label_noise": float("nan")}, "^label_noise must be a finite number, got nan$"),
        ({"label_smoothing": 1.5}, "^label_smoothing must be less than or equal to 1, got 1.5$"),
        ({"compile": 1}, "^compile must be a valid boolean, got 1$"),
        ({"trajectory_every_steps": -1}, "^trajectory_every_steps must be greater than or equal to 0, got -1$"),
        ({"model": "resnet-20"}, "^model 'resnet-20' is unknown; choose one of mlp, .*; did you mean 'resnet20'[?]$"),
        ({"data": "cifar100"}, "^data 'cifar100' is unknown; .*did you mean 'cifar10'"),
        ({"data": "npz:"}, "^data 'npz:' is unknown"),
        ({"data": "npz:FILE", "model": "cnn2"}, "did you mean 'cnn'"),
        ({"data": "cifar10"}, "^data 'cifar10' needs root"),
        (
            {"method": "gcasm"},
            "^method 'gcasm' is unknown; choose one of sgd, gc, sam, gcsam, random, .*, fsam; did you mean 'gcsam'",
        ),
        ({"optimizer": "LBFGS"}, "^optimizer 'LBFGS' is unknown"),
        ({"optimizer": "Adam", "momentum": 0.9}, "^momentum must be left out with optimizer Adam, got 0.9"),
        ({"learning_rate": 0.1}, "^setting 'learning_rate' is unknown"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_each_mistake_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "it does not parse"), ("[1]", "got list"), ('{"lr": -1}', "^lr")])
def test_json_that_is_none_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_json(text)


def test_methods_are_switches_of_one_optimizer() -> None:
    found = {method: TrainConfig(method=method, rho=0.3).optimizer_arguments() for method in METHODS}
    usual = {"projection": "mean", "friendly": 0.0}
    switches = ("rho", "centralize_ascent", "centralize_descent", "projection", "radius", "friendly")
    assert {
        method: tuple({**usual, **arguments}[name] for name in switches) for method, arguments in found.items()
    } == {
        "sgd": (0.0, False, False, "mean", "exact", 0.0),
        "gc": (0.0, False, True, "mean", "exact", 0.0),
        "sam": (0.3, False, False, "mean", "exact", 0.0),
        "gcsam": (0.3, True, False, "mean", "exact", 0.0),
        "random": (0.3, True, False, "random", "exact", 0.0),
        "sam-matched": (0.3, False, False, "mean", "matched", 0.0),
        "fsam": (0.3, False, False, "mean", "exact", 1.0),
    }


@pytest.mark.parametrize(
    "override",
    [
        {"centralize_ascent": False},
        {"centralize_descent": True},
        {"projection": "random"},
        {"friendly": 0.5},
        {"friendly_decay": 0.5},
        {"eta": 0.5},
        {"radius": "published"},
    ],
)
def test_a_method_may_be_given_another_switch(override: dict[str, Any]) -> None:
    """Fails if an override is checked and then not used."""
    plain = TrainConfig().optimizer_arguments()
    assert TrainConfig(**override).optimizer_arguments() == {**plain, **override}
    own = {"centralize_ascent": None, "centralize_descent": None, "projection": None, "friendly": None}
    assert TrainConfig(**own).optimizer_arguments() == plain


def test_a_radius_of_its_own_goes_with_the_method() -> None:
    matched = TrainConfig(method="sam-matched")
    assert matched.radius == "matched"
    assert TrainConfig.from_json(matched.to_json()) == matched
    assert matched.replace(method="sam").radius == "exact"
    assert matched.replace(lr=0.5).radius == "matched"
    assert TrainConfig().replace(method="sam-matched").radius == "matched"
    assert TrainConfig(radius="published").replace(method="random").radius == "published"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_its_arguments(name: str) -> None:
    from gcsam.training.optimizers import build_optimizer

    model = torch.nn.Linear(2, 2)
    build_optimizer(model, TrainConfig(optimizer=name)).step(lambda: model(torch.ones(1, 2)).sum().backward())


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match=r"device 'cuda:99' is not there: torch sees .*; give cpu or auto"):
        resolve_device("cuda:99")
