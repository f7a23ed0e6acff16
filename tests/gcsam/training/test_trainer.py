"""What a run may be asked for beside its method: smoothing, augmentation, schedules, compilation, what it keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gcsam.training import TrainConfig, load_data, train
from gcsam.training.checkpoint import load_file
from gcsam.training.schedules import learning_rate
from gcsam.training.trainer import initial_model
from tests.gcsam.training.small import small


def inputs_seen(config: TrainConfig, directory: Path) -> list[Tensor]:
    """Train; return what the network was given in each pass."""
    seen: list[Tensor] = []
    from gcsam.training.trainer import Trainer

    original = Trainer.__init__

    def spied(self: Trainer, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        self.model.register_forward_pre_hook(
            lambda model, given: seen.append(given[0].clone()) if model.training else None
        )

    Trainer.__init__ = spied  # type: ignore[method-assign]
    try:
        train(config, directory)
    finally:
        Trainer.__init__ = original  # type: ignore[method-assign]
    return seen


def whole_batch(**settings: object) -> TrainConfig:
    """All 60 images in one batch, so that the order does not count."""
    return small(epochs=1, batch_size=60, **settings)


def test_smoothing_is_in_the_training_loss_alone(tmp_path: Path) -> None:
    """The oracle is the definition: (1 - a) times the cross entropy, a times its mean over all classes."""
    config = whole_batch(label_smoothing=0.3)
    run = train(config, tmp_path)
    data = load_data(config)
    scores = initial_model(config, data)(data.train.inputs(slice(None))).double().log_softmax(1)
    scores = scores.detach()
    smoothed = -0.7 * scores.gather(1, data.train.labels[:, None]).mean() - 0.3 * scores.mean()
    assert run.history["train_loss"][0] == pytest.approx(float(smoothed), rel=1e-6)
    trained = run.model()(data.validation.inputs(slice(None))).detach().double()
    plain = float(F.cross_entropy(trained, data.validation.labels))
    assert run.history["validation_loss"][0] == pytest.approx(plain, rel=1e-6)


def test_the_gradient_norm_is_that_of_the_batches_root_mean_square(tmp_path: Path) -> None:
    config = small(epochs=1, lr=1e-30)  # the weights stay where they are
    run = train(config, tmp_path)
    data = load_data(config)
    model = initial_model(config, data)
    stream = int(np.random.SeedSequence([config.seed, 1]).generate_state(1)[0])  # orders the data
    squares = []
    for x, y in data.train.batches(config.batch_size, torch.Generator().manual_seed(stream)):
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
        squares.append(sum(float(gradient.double().square().sum()) for gradient in gradients))
    assert run.history["gradient_norm"][0] == pytest.approx((sum(squares) / len(squares)) ** 0.5, rel=1e-5)


def test_both_passes_see_the_same_augmented_images_and_evaluation_none(tmp_path: Path) -> None:
    """4 x 4 pixels have no room for a shift: an image is itself or flipped; one pass per step would see one batch."""
    config = whole_batch(augment="crop-flip")
    first, second = inputs_seen(config, tmp_path / "augmented")
    plain = inputs_seen(whole_batch(), tmp_path / "plain")
    assert torch.equal(first, second)
    same, flipped = ((first == other).flatten(1).all(1) for other in (plain[0], plain[0].flip(3)))
    assert bool((same | flipped).all())
    assert 0 < int(flipped.sum()) < 60
    run = train(config, tmp_path / "augmented")
    split = load_data(config).train
    scores = run.model()(split.inputs(slice(None))).detach().double()
    assert run.summary["train_loss"] == pytest.approx(float(F.cross_entropy(scores, split.labels)), rel=1e-5)


def test_seeds_augment_differently(tmp_path: Path) -> None:
    found = [inputs_seen(whole_batch(augment="crop-flip", seed=seed), tmp_path / str(seed))[0] for seed in (0, 1)]
    images = [{image.numpy().tobytes() for image in batch} for batch in found]
    assert images[0] != images[1]


@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
def test_the_rate_of_each_epochs_first_step_is_the_schedules(tmp_path: Path, schedule: str) -> None:
    """That a rate reaches the optimizer is seen by the loop by hand, with a cosine (`test_loop.py`)."""
    run = train(small(schedule=schedule, epochs=3, lr=0.1), tmp_path)
    assert run.history["learning_rate"] == pytest.approx([learning_rate(schedule, 0.1, step, 12) for step in (0, 4, 8)])


def test_weights_are_kept_every_so_many_steps(tmp_path: Path) -> None:
    """The steps 0 and 4 are the ends of epochs 0 and 1, whose weights are known from elsewhere."""
    train(small(trajectory_every=1, trajectory_every_steps=4), tmp_path)
    folder = tmp_path / "trajectory"
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"epoch-000{epoch}.pt" for epoch in range(3)),
        *(f"step-000000{step}.pt" for step in (0, 4, 8)),
    ]
    for epoch in range(3):
        a, b = load_file(folder / f"epoch-000{epoch}.pt"), load_file(folder / f"step-000000{4 * epoch}.pt")
        assert all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])
        assert (a["step"], b["step"]) == (4 * epoch, 4 * epoch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_run_is_the_run_and_its_checkpoint_goes_on_without(tmp_path: Path) -> None:
    """Names of weights stay those of the network; kernels add in another order, 8 steps in float32."""
    plain, compiled = (train(small(compile=flag), tmp_path / str(flag)) for flag in (False, True))
    a, b = (load_file(tmp_path / str(flag) / "checkpoint.pt")["model"] for flag in (False, True))
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=2e-5)
    assert compiled.history["step_loss"] == pytest.approx(plain.history["step_loss"], abs=2e-5)
    assert compiled.model().state_dict().keys() == plain.model().state_dict().keys()
