"""What readers return, checked and in one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gcsam.training.images import checked

GREY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def test_grey_images_get_a_channel_and_labels_one_axis() -> None:
    images, labels = checked(GREY, np.array([[1], [0]], dtype=np.uint8), "x")
    assert images.shape == (2, 1, 3, 4)
    assert images.dtype == torch.uint8
    assert (labels.tolist(), labels.dtype) == ([1, 0], torch.int64)
    assert np.array_equal(images[:, 0].numpy(), GREY)


@pytest.mark.parametrize("kind", [np.float64, np.uint16, np.int32, torch.float64])
def test_other_numbers_become_float32(kind: Any) -> None:
    given = torch.tensor(GREY[:, None]).to(kind) if isinstance(kind, torch.dtype) else GREY[:, None].astype(kind)
    images, _ = checked(given, [0, 1], "x")
    assert images.dtype == torch.float32
    assert np.array_equal(images[:, 0].numpy(), GREY)


def test_what_was_given_is_not_shared() -> None:
    given = GREY.copy()
    images, _ = checked(given, [0, 1], "x")
    given[:] = 0
    assert np.array_equal(images[:, 0].numpy(), GREY)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GREY[0], [0, 1], r"images must be \[N, C, H, W\] or \[N, H, W\], got shape \[3, 4\]"),
        (GREY, [0, 1, 1], r"labels must be one class per image, \[2\] or \[2, 1\], got shape \[3\]"),
        (GREY, [[0, 1], [1, 0]], r"got shape \[2, 2\]"),
        (GREY[:0], [], "there are no images"),
        (GREY, [0.0, 1.0], "labels must be whole numbers from 0, got torch.float64"),
        (GREY, [True, False], "labels must be whole numbers from 0, got torch.bool"),
        (GREY, [-1, 0], "labels must be whole numbers from 0, got torch.int64 from -1"),
        (GREY.astype(complex), [0, 1], "images must be real, got torch.complex128"),
        (np.where(GREY == 5, np.nan, GREY), [0, 1], "images must be finite; 1 values are NaN or infinite"),
        (["a", "b"], [0, 1], "images must be a tensor or an array of numbers, got list"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^here: .*{message}") as caught:
        checked(images, labels, "here")
    assert "\n" not in str(caught.value)
