"""`landscape train`: options in, a finished run out.

Right when every option reaches the configuration and its default is that of `gcsam.training.TrainConfig`
(`tests/landscape/commands/test_train.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from landscape.options import WHERE, Device, DeviceOption, Quiet

TRAINING = "Training"
DATA = "Data"
DRIFT = "A distribution that changes"
PROBE = "Measuring on the way"


def train(
    output: Annotated[Path, typer.Option("--output", help="Folder of the run.", rich_help_panel=WHERE)],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="digits, cifar10, npz:FILE, folder:DIR or package.module:function.",
            rich_help_panel=DATA,
        ),
    ] = "digits",
    root: Annotated[
        Optional[Path],  # noqa: UP045  # typer 0.12 does not read `Path | None`
        typer.Option("--root", help="Folder that holds cifar-10-batches-py.", rich_help_panel=DATA),
    ] = None,
    train_limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--train-limit", min=1, help="Train on at most this many images.", rich_help_panel=DATA),
    ] = None,
    test_limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--test-limit", min=1, help="The same for validation and for test.", rich_help_panel=DATA),
    ] = None,
    image_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--image-size", min=1, help="Resize a folder's images to this side.", rich_help_panel=DATA),
    ] = None,
    label_noise: Annotated[
        float, typer.Option("--label-noise", help="Share of wrong training labels.", rich_help_panel=DATA)
    ] = 0.0,
    augment: Annotated[
        str, typer.Option("--augment", help="none, or crop-flip: random crops and flips.", rich_help_panel=DATA)
    ] = "none",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="mlp, cnn, resnet20, resnet20_noshort, resnet56, resnet56_noshort, resnet18, vgg11, vgg11_bn, "
            "vit-tiny or package.module:function.",
            rich_help_panel=TRAINING,
        ),
    ] = "cnn",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="sgd, gc, sam, gcsam, or a control: random, a random projection; sam-matched, SAM at gcsam's radius; "
            "fsam, Friendly-SAM.",
            rich_help_panel=TRAINING,
        ),
    ] = "gcsam",
    rho: Annotated[float, typer.Option("--rho", help="Radius of the ascent.", rich_help_panel=TRAINING)] = 0.05,
    adaptive: Annotated[bool, typer.Option("--adaptive", help="Scale it as ASAM.", rich_help_panel=TRAINING)] = False,
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="Class of torch.optim that steps.", rich_help_panel=TRAINING)
    ] = "SGD",
    radius: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--radius",
            help="exact; published or matched: rho * ||Pg|| / ||g||; default: the method's own.",
            rich_help_panel=TRAINING,
            show_default=False,
        ),
    ] = None,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate.", rich_help_panel=TRAINING)] = 0.05,
    momentum: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--momentum", help="Of SGD (default 0.9) or RMSprop.", rich_help_panel=TRAINING),
    ] = None,
    weight_decay: Annotated[
        float, typer.Option("--weight-decay", help="In the step.", rich_help_panel=TRAINING)
    ] = 5e-4,
    schedule: Annotated[
        str, typer.Option("--schedule", help="cosine, onecycle or constant.", rich_help_panel=TRAINING)
    ] = "cosine",
    label_smoothing: Annotated[
        float, typer.Option("--label-smoothing", help="In the training loss.", rich_help_panel=TRAINING)
    ] = 0.0,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the data.", rich_help_panel=TRAINING)] = 30,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images.", rich_help_panel=TRAINING)] = 32,
    seed: Annotated[
        int, typer.Option("--seed", help="Of initialization and data order.", rich_help_panel=TRAINING)
    ] = 0,
    drift: Annotated[
        str,
        typer.Option(
            "--drift",
            help="Corruption of a stream that drifts hour by hour, an epoch being an hour: gaussian_noise, shot_noise, "
            "impulse_noise, gaussian_blur, contrast, brightness, pixelate, translation or rotation.",
            rich_help_panel=DRIFT,
        ),
    ] = "none",
    drift_severity: Annotated[
        float, typer.Option("--drift-severity", help="Of the last hour, up to 5.", rich_help_panel=DRIFT)
    ] = 3.0,
    drift_after: Annotated[
        int, typer.Option("--drift-after", help="Clean epochs before it.", rich_help_panel=DRIFT)
    ] = 0,
    drift_stream: Annotated[
        str,
        typer.Option(
            "--drift-stream",
            help="fresh: every image is seen in one hour only; repeat: all of them in each.",
            rich_help_panel=DRIFT,
        ),
    ] = "fresh",
    trajectory_every: Annotated[
        int,
        typer.Option("--trajectory-every", help="Keep the weights of every so many epochs.", rich_help_panel=TRAINING),
    ] = 0,
    trajectory_every_steps: Annotated[
        int, typer.Option("--trajectory-every-steps", help="The same in steps.", rich_help_panel=TRAINING)
    ] = 0,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Run the network through torch.compile.", rich_help_panel=TRAINING)
    ] = False,
    perturbation: Annotated[
        str,
        typer.Option(
            "--perturbation",
            help="Under torchrun: global, one epsilon for all processes; or local, each its own.",
            rich_help_panel=TRAINING,
        ),
    ] = "global",
    probe: Annotated[
        str,
        typer.Option(
            "--probe",
            help="When to measure curvature, gradient noise and sharpness: every:N or log:N in steps, epochs:N, or "
            "at:N,N,...; not at all by default.",
            rich_help_panel=PROBE,
        ),
    ] = "",
    probe_budget: Annotated[
        float,
        typer.Option(
            "--probe-budget", help="Share of the training time for it, at most; inf: no limit.", rich_help_panel=PROBE
        ),
    ] = 0.05,
    probe_samples: Annotated[
        int, typer.Option("--probe-samples", help="Training images to measure on.", rich_help_panel=PROBE)
    ] = 256,
    probe_of: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--probe-of",
            metavar="QUANTITY",
            help="lambda_max, trace, noise or sharpness; repeat it for more; default: all.",
            rich_help_panel=PROBE,
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
) -> None:
    """Train one network; stopped, the same command goes on after the last whole epoch.

    Example:  [bold]landscape train --data cifar10 --root DIR --model resnet20 --method gcsam --output runs/one[/bold]

    Started by [bold]torchrun -m[/bold], several processes train one network; --batch-size stays that of the whole.

    Kept are the weights of the latest epoch within one standard error of the best on the validation split; the test
    split is looked at once, at the end. With --drift the last weights are kept.

    Example:  [bold]landscape train --method gcsam --probe every:50 --probe-budget 0.1 --output runs/watched[/bold]

    The probe changes nothing of the training. It measures on a fixed choice of training images, and leaves out what
    the budget does not allow; the numbers are in probe.h5 from the first step on, and in run.h5 at the end.
    """
    from gcsam.training import TrainConfig, is_first_process
    from landscape.jobs.measurements import PROBED
    from landscape.measuring.probing import wish
    from landscape.measuring.training import train_run
    from landscape.progress import display
    from landscape.records.layout import RUN_FILE
    from landscape.tables.measured import trained_table
    from landscape.tables.printing import show

    config = TrainConfig(
        data=data,
        root=None if root is None else str(root),
        train_limit=train_limit,
        test_limit=test_limit,
        image_size=image_size,
        model=model,
        method=method,
        rho=rho,
        adaptive=adaptive,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        label_noise=label_noise,
        augment=augment,
        label_smoothing=label_smoothing,
        compile=compiled,
        perturbation=perturbation,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        drift=drift,
        drift_severity=drift_severity,
        drift_after=drift_after,
        drift_stream=drift_stream,
        trajectory_every=trajectory_every,
        trajectory_every_steps=trajectory_every_steps,
        device=device.resolve(),
        **({} if radius is None else {"radius": radius}),
    )
    wanted = wish(probe, probe_budget, probe_samples, probe_of or PROBED) if probe else None
    is_first = is_first_process()
    with display(quiet=quiet or not is_first) as shown:
        train_run(config, output, shown, wanted)
    if is_first:
        show(trained_table(output / RUN_FILE))
