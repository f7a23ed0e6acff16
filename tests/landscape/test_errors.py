"""Exit statuses and lines. Blind to what the messages of other floors say: their own tests execute those."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.batches import NotRepeatable, as_batches, check_same
from analysis.store import read_attributes
from gcsam import GCSAM
from landscape.errors import exit_status, one_line


def caught(call: object) -> BaseException:
    try:
        call()  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def own_not_repeatable() -> None:
    check_same((0.0, 1.0), (9.0, 1.0))


def test_a_mistake_of_the_user_is_2_whichever_floor_names_it() -> None:
    assert exit_status(caught(lambda: as_batches([]))) == 2
    assert exit_status(caught(lambda: read_attributes("/nowhere.h5"))) == 2
    error = caught(own_not_repeatable)
    assert isinstance(error, NotRepeatable)
    assert exit_status(error) == 2


def test_the_same_types_raised_elsewhere_are_bugs() -> None:
    """Fails if every ValueError is taken for a mistake: a bug would then hide its place."""
    assert exit_status(caught(lambda: np.zeros(2).reshape(3))) is None
    assert exit_status(caught(lambda: int("a"))) is None
    assert exit_status(ValueError("never raised")) is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.h5"), 2),
        (PermissionError(13, "Permission denied", "a.h5"), 2),
        (IsADirectoryError(21, "Is a directory", "a"), 2),
        (OSError(28, "No space left on device", "a.h5"), 1),
    ],
)
def test_the_disk_is_the_users_where_a_path_is_wrong(error: OSError, status: int) -> None:
    assert exit_status(error) == status
    line = one_line(error)
    assert line.startswith(f"{error.filename}: ")
    assert "\n" not in line


def test_work_of_ours_that_failed_is_1() -> None:
    optimizer = GCSAM(torch.nn.Linear(2, 2).parameters(), torch.optim.SGD, rho=0.1, lr=0.1)
    assert exit_status(caught(optimizer.descend)) == 1  # RuntimeError: descend() without ascend()


def test_one_line_is_one_line_and_has_no_quotes_of_its_own() -> None:
    assert one_line(KeyError("no measurement 'a'; it holds none")) == "no measurement 'a'; it holds none"
    assert one_line(ValueError("first\n  second\tthird")) == "first second third"
