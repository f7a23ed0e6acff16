"""Training on a drifting stream: which images each hour holds, at which level, and what is remembered of it.

The corruptions are tested in `test_corruptions.py`; here a shift of brightness, whose closed form is a sum, shows them.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gcsam.training import TrainConfig, TrainingDiverged, load_data, load_run, train
from gcsam.training.checkpoint import load_file
from gcsam.training.drift import Stream
from gcsam.training.splits import Split
from gcsam.training.trainer import Trainer
from tests.gcsam.training.small import NETS, small
from tests.gcsam.training.test_resume import Stop, same, without_times


def drifting(**settings: Any) -> TrainConfig:
    """Two clean epochs on 30 of 60 images, then four hours on 30 others, 7 or 8 each."""
    given = {"drift": "brightness", "drift_severity": 4.0, "drift_after": 2, "epochs": 6, "schedule": "constant"}
    return small(**{**given, **settings})


def places(split: Split, whole: Split, shift: float) -> list[int]:
    """Where the images of a split stand in the whole, once a shift of brightness is taken back, up to the clamp."""
    low, high = float(whole.images.min()), float(whole.images.max())
    expected = (whole.images + shift * (high - low)).clamp(max=high)
    distance = (split.images[:, None] - expected[None]).abs().flatten(2).amax(2)  # [images, whole]
    assert float(distance.amin(1).max()) < 1e-5
    found = distance.argmin(1)
    assert torch.equal(split.labels, whole.labels[found])
    return found.tolist()


@pytest.mark.parametrize("after", [0, 2])
def test_fresh_hours_hold_images_that_no_epoch_saw_before_at_a_rising_level(after: int) -> None:
    """Fails if an image comes twice, is left out, or keeps a level that is not its hour's."""
    config, data = drifting(drift_after=after), load_data(small())
    stream, hours = Stream(config, data), 6 - after
    seen: list[int] = []
    for epoch in range(1, 7):
        hour = epoch - after
        severity = 4.0 * hour / hours if hour > 0 else 0.0
        assert stream.severity(epoch) == pytest.approx(severity)
        found = places(stream.train(epoch), data.train, 0.1 * severity)
        assert len(set(found)) == len(found)
        if hour < 1:
            assert sorted(found) == sorted(places(stream.train(1), data.train, 0.0))  # clean epochs repeat
        if hour > 0 or epoch == 1:
            assert not set(found) & set(seen)
            seen += found
            sizes = {len(found)}
            assert sizes <= ({30} if hour < 1 else {7, 8} if after else {10})
    assert sorted(seen) == list(range(60))


def test_repeated_hours_hold_all_images() -> None:
    config, data = drifting(drift_stream="repeat", drift_after=1), load_data(small())
    stream = Stream(config, data)
    for epoch, severity in ((1, 0.0), (2, 0.8), (6, 4.0)):
        assert sorted(places(stream.train(epoch), data.train, 0.1 * severity)) == list(range(60))


def test_the_seed_decides_the_order_and_the_noise_and_nothing_else_does() -> None:
    """Runs of one seed are pairs: every method sees the same hours."""
    data = load_data(small())

    def hour(**settings: Any) -> torch.Tensor:
        return Stream(drifting(drift="gaussian_noise", **settings), data).train(4).images

    assert torch.equal(hour(method="sgd"), hour(method="gcsam", lr=0.3))
    assert not torch.equal(hour(seed=1), hour(seed=2))
    order = [Stream(drifting(seed=seed), data).train(4).images for seed in (1, 2)]  # of brightness, without noise
    assert not torch.equal(*order)
    # the same images at level 2 in hours 2 and 3: only the noise differs
    levels = [
        Stream(drifting(drift="gaussian_noise", drift_stream="repeat", drift_severity=s), data) for s in (4.0, 8 / 3)
    ]
    images = [stream.train(epoch).images for stream, epoch in zip(levels, (4, 5), strict=True)]
    assert levels[0].severity(4) == levels[1].severity(5) == 2.0
    assert not torch.equal(*images)


def test_without_drift_it_is_the_training_split() -> None:
    data = load_data(small())
    stream = Stream(small(), data)
    assert stream.train(1) is data.train
    assert (stream.drifts, stream.num_steps, stream.severity(2)) == (False, 8, 0.0)
    assert stream.columns(torch.nn.Identity(), 1, 0.5) == stream.summary({}) == {}


def test_what_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand from the batches that were trained on, and the weights kept before and after every step."""
    config = drifting(model=f"{NETS}:linear", method="sgd", batch_size=4, trajectory_every_steps=1, trajectory_every=1)
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = Trainer._step

    def recording(self: Any, inputs: torch.Tensor, labels: torch.Tensor, **named: Any) -> Any:
        batches.append((inputs.clone(), labels.clone()))
        return original(self, inputs, labels, **named)

    monkeypatch.setattr(Trainer, "_step", recording)
    run = train(config, tmp_path)
    history, data = run.history, run.splits("cpu")
    model = run.model("cpu")

    def hits(path: Path, inputs: torch.Tensor, labels: torch.Tensor) -> int:
        model.load_state_dict(load_file(path)["model"])
        return int((model(inputs).argmax(1) == labels).sum())

    correct = [hits(tmp_path / "trajectory" / f"step-{n:07d}.pt", *batch) for n, batch in enumerate(batches)]
    # two clean epochs of 8 batches, then hours of 8, 8, 7, 7 images in 2 batches each
    assert len(batches) == len(history["step_loss"]) == Stream(config, data).num_steps == 24
    sizes, ends = [8, 8, 7, 7], [16, 18, 20, 22, 24]
    by_hour = [sum(correct[a:b]) for a, b in pairwise(ends)]
    assert [sum(len(batch[1]) for batch in batches[a:b]) for a, b in pairwise(ends)] == sizes
    assert history["severity"].tolist() == [0, 0, 1, 2, 3, 4]
    assert np.isnan(history["online_accuracy"][:2]).all()
    assert np.isnan(history["current_accuracy"][:2]).all()
    assert history["online_accuracy"][2:].tolist() == [c / n for c, n in zip(by_hour, sizes, strict=True)]
    assert history["train_accuracy"][2:].tolist() == history["online_accuracy"][2:].tolist()
    assert run.summary["online_accuracy"] == pytest.approx(sum(by_hour) / 30, rel=1e-12)
    span = float(data.train.images.max() - data.train.images.min())
    for hour, epoch in enumerate((3, 4, 5, 6), start=1):
        images = (data.validation.images + 0.1 * hour * span).clamp(max=float(data.train.images.max()))
        inputs = (images - data.train.mean[:, None, None]) / data.train.std[:, None, None]
        path = tmp_path / "trajectory" / f"epoch-{epoch:04d}.pt"
        assert history["current_accuracy"][epoch - 1] == hits(path, inputs, data.validation.labels) / 9
        clean = data.validation.inputs(slice(None))
        assert history["validation_accuracy"][epoch - 1] == hits(path, clean, data.validation.labels) / 9
    assert run.summary["selected_epoch"] == 6


@pytest.mark.parametrize("method", ["sgd", "gcsam"])
@pytest.mark.parametrize("settings", [{"drift": "shot_noise"}, {"drift": "rotation", "drift_stream": "repeat"}])
def test_stopped_after_any_hour_it_goes_on_bit_for_bit(tmp_path: Path, method: str, settings: dict[str, Any]) -> None:
    config = drifting(method=method, model=f"{NETS}:dropped", drift_after=1, epochs=4, **settings)
    whole = train(config, tmp_path / "whole")
    for _ in range(3):

        def stop(done: int, total: int, metrics: dict[str, float]) -> None:
            raise Stop

        with pytest.raises(Stop):
            train(config, tmp_path / "parts", progress=stop)
    assert len(load_run(tmp_path / "parts").history["epoch"]) == 3
    parts = train(config, tmp_path / "parts")
    assert parts.summary["online_accuracy"] == whole.summary["online_accuracy"]
    states = [without_times(load_file(tmp_path / folder / "checkpoint.pt")) for folder in ("whole", "parts")]
    columns = [state["history"].pop(name) for state in states for name in ("online_accuracy", "current_accuracy")]
    assert all(
        torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in zip(columns[:2], columns[2:], strict=True)
    )
    assert same(*states)
    assert same(*(load_file(tmp_path / folder / "selected.pt") for folder in ("whole", "parts")))


def test_the_level_is_reached_by_training_too(tmp_path: Path) -> None:
    """Fails if the shifted images never reach the network: other levels would give the same weights."""
    ends = []
    for severity in (0.5, 4.0):
        train(drifting(drift_severity=severity), tmp_path / str(severity))
        ends.append(load_file(tmp_path / str(severity) / "selected.pt")["model"])
    assert not same(*ends)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drift": "fog"}, r"^drift 'fog' is unknown; choose one of none, gaussian_noise, .*, rotation$"),
        ({"drift": "contrst"}, r"did you mean 'contrast'\?$"),
        ({"drift_severity": 0.0}, r"^drift_severity must be greater than 0, got 0.0$"),
        ({"drift_severity": 5.5}, r"^drift_severity must be less than or equal to 5, got 5.5$"),
        ({"drift_severity": float("nan")}, r"^drift_severity must be a finite number, got nan$"),
        ({"drift_after": -1}, r"^drift_after must be greater than or equal to 0, got -1$"),
        ({"drift_after": 6}, r"^drift_after must be less than epochs \(6\), got 6; the rest are the hours of the"),
        ({"drift_stream": "once"}, r"^drift_stream must be 'fresh' or 'repeat', got 'once'$"),
        (
            {"select": "validation"},
            r"^select must be 'last' with drift, got 'validation': a stream has",
        ),
        (
            {"augment": "crop-flip"},
            r"^augment must be 'none' with drift, got 'crop-flip': images are",
        ),
    ],
)
def test_each_mistake_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        drifting(**settings)
    assert "\n" not in str(caught.value)


def test_what_a_drift_asks_for_is_not_asked_of_others() -> None:
    assert (TrainConfig().select, drifting().select) == ("validation", "last")
    assert TrainConfig(augment="crop-flip", drift_after=50).drift == "none"
    assert TrainConfig.from_json(drifting().to_json()) == drifting()


@pytest.mark.parametrize(("epochs", "after"), [(61, 0), (33, 2)])
def test_more_hours_than_images(tmp_path: Path, epochs: int, after: int) -> None:
    message = rf"^drift_stream 'fresh' needs an image of its own for each of {epochs - after} hours, got \d+ images"
    with pytest.raises(ValueError, match=message):
        train(drifting(epochs=epochs, drift_after=after), tmp_path)
    assert Stream(drifting(epochs=epochs, drift_after=after, drift_stream="repeat"), load_data(small())).num_steps > 60


def test_a_stream_that_diverges_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match="training diverged: "):
        train(drifting(lr=1e20, method="sgd"), tmp_path)
