"""The user's own network, from the options that name its model, weights, data and loss; ready to be measured.

Every mistake is found before the first measurement starts, and is one line that names the option. Right when each gives
its line on the command line (`tests/families/test_bad_input.py`). Cost: loading weights and data, and one batch to see
that model, data and loss fit together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.errors import exit_status, one_line
from landscape.network.subject import Subject
from landscape.options import TRAIN, Given
from landscape.progress import Display

if TYPE_CHECKING:
    from torch import nn

    from analysis import Objective


def check_one_kind(given: Given) -> None:
    """Refuse run folders beside an own network, or what is an option of it.

    Args:
        given: From the command line.

    Raises:
        ValueError: Both were given.
    """
    named = ", ".join(option for option, value in _own_values(given).items() if value)
    if given.runs and named:
        raise ValueError(f"give run folders or your own network, not both: got {given.runs[0]} and {named}")
    if given.runs and given.parameters:
        raise ValueError(f"--parameters {given.parameters[0]}: is of your own network; a run is measured as a whole")


def own_options(given: Given) -> dict[str, str]:
    """Return what names the user's own network, by option without its dashes.

    Args:
        given: From the command line.

    Raises:
        ValueError: Something is missing, or an option is one for runs.
    """
    options = _own_values(given)
    missing = [option for option, value in {**options, "--output": given.output}.items() if not value]
    if len(missing) == len(options) + 1:
        raise ValueError("give run folders, or your own network by --model, --checkpoint, --data, --loss and --output")
    if missing:
        raise ValueError(f"your own network needs {', '.join(missing)} too; --help shows an example")
    if given.on != TRAIN:
        raise ValueError(f"--on {given.on}: is of a run; for your own network give these data as --data")
    return {option.removeprefix("--"): value for option, value in options.items()}


def own_config(given: Given) -> str:
    """Return what names the user's own network, and what of it is measured, as JSON.

    Args:
        given: From the command line.
    """
    return json.dumps({**own_options(given), "parameters": given.parameters})


def own_objective(model: nn.Module, given: Given) -> Objective:
    """Return the user's own network with its data and loss, tried on the first batch.

    Args:
        model: On its device.
        given: From the command line.

    Raises:
        ValueError: A function cannot be found or fails, or model, data and loss do not fit together.
    """
    from analysis import Objective
    from landscape.network.sources import own_data, own_loss, takes_model

    loss = own_loss(given.loss)
    objective = Objective(
        model,
        None if takes_model(loss) else loss,
        own_data(given.data),
        given.parameters or None,
        batch_loss=loss if takes_model(loss) else None,
        batchnorm=given.batchnorm,
    )
    _try_first_batch(objective, given)
    return objective


def _own_values(given: Given) -> dict[str, str]:
    return {
        "--model": given.model,
        "--checkpoint": given.checkpoint,
        "--data": given.data,
        "--loss": given.loss,
    }


def own_subject(given: Given, display: Display, device: str) -> Subject:
    """Open the user's own network, ready to be measured.

    Args:
        given: From the command line.
        display: Told what was done to the names of weights.
        device: Where to compute.

    Returns:
        The network.

    Raises:
        ValueError: Any part is missing or wrong.
    """
    own_options(given)
    from landscape.network.checkpoints import hash_of_weights
    from landscape.network.fitting import load_weights
    from landscape.network.sources import own_data, own_model

    model = own_model(given.model)
    for note in load_weights(model, given.checkpoint, trust=given.trust_checkpoint):
        display.note(note)
    if given.splits:
        raise ValueError(f"--split {given.splits[0]}: is of a run; for your own network give --test-data")
    return Subject(
        title=f"{given.model} with {given.checkpoint}",
        path=Path(given.output or ""),
        objective=own_objective(model.to(device), given),
        checkpoint_sha256=hash_of_weights(given.checkpoint),
        config=own_config(given),
        data=given.data,
        splits={"test": own_data(given.test_data, "--test-data")} if given.test_data else {},
    )


def _try_first_batch(objective: Objective, given: Given) -> None:
    """See that model, data and loss fit together: what fails here is in the user's code, and not in ours."""
    first = next(iter(objective.data), None)
    if first is None:
        raise ValueError(f"--data {given.data}: data must hold at least one batch, got none; check the data set")
    try:
        objective.on([first]).loss()
    except Exception as error:
        if exit_status(error) is not None:
            raise
        remedy = ""
        if isinstance(error, RuntimeError) and "device" in str(error):
            remedy = "; a tensor that is neither parameter nor buffer does not move with its module: register_buffer it"
        raise ValueError(
            f"--model {given.model}, --data {given.data} and --loss {given.loss} do not fit together; on the first "
            f"batch: {type(error).__name__}: {one_line(error)}{remedy}"
        ) from None
