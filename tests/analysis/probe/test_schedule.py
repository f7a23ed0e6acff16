"""Each schedule is the set its docstring states. The oracle lists the set itself, up to some step."""

from __future__ import annotations

import math

import pytest

from analysis.probe.schedule import Schedule, at_steps, every, every_epoch, from_text, log_spaced


def steps_of(schedule: Schedule, stop: int) -> list[int]:
    return [step for step in range(stop) if schedule.at_step(step)]


def epochs_of(schedule: Schedule, stop: int) -> list[int]:
    return [epoch for epoch in range(stop) if schedule.at_epoch(epoch)]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_every_is_the_multiples(n: int) -> None:
    assert steps_of(every(n), 50) == list(range(0, 50, n))
    assert epochs_of(every(n), 50) == []


@pytest.mark.parametrize("per_decade", [1, 3, 5, 10])
def test_log_spaced_is_the_rounded_powers(per_decade: int) -> None:
    """Fails if a step is missed by the rounding of a logarithm, or 0 is left out."""
    powers = {round(10 ** (k / per_decade)) for k in range(5 * per_decade)}
    assert steps_of(log_spaced(per_decade), 20000) == sorted({0} | {step for step in powers if step < 20000})


def test_at_steps_is_what_it_is_given() -> None:
    assert steps_of(at_steps([9, 4, 4]), 20) == [4, 9]
    assert steps_of(at_steps(iter([0])), 20) == [0]


@pytest.mark.parametrize("n", [1, 3])
def test_every_epoch_is_their_ends_and_the_beginning(n: int) -> None:
    assert epochs_of(every_epoch(n), 12) == [epoch for epoch in range(1, 12) if epoch % n == 0]
    assert steps_of(every_epoch(n), 12) == [0]


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("every:50", every(50)),
        ("epochs:2", every_epoch(2)),
        ("log:4", log_spaced(4)),
        ("at:0,10,100", at_steps([100, 10, 0])),
    ],
)
def test_a_text_gives_back_the_set(text: str, schedule: Schedule) -> None:
    found = from_text(text)
    assert found == schedule
    assert found.text == schedule.text == text
    assert steps_of(found, 200) == steps_of(schedule, 200)
    assert epochs_of(found, 20) == epochs_of(schedule, 20)
    assert every(50) != every(51)


@pytest.mark.parametrize("given", [0, -1, 2.0, math.nan, True])
def test_what_is_no_count_is_refused(given: float) -> None:
    for make, what in ((every, "steps"), (every_epoch, "epochs"), (log_spaced, "per_decade")):
        with pytest.raises(ValueError, match=rf"{what} must be a whole number >= 1, got {given!r}; 1 measures"):
            make(given)  # type: ignore[operator]


def test_what_is_no_step_is_refused() -> None:
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match=r"every one of steps must be a whole number >= 0, got (-1|nan); 0 is bef"):
            at_steps([3, wrong])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"steps must hold at least one step, got none; every\(100\) measures"):
        at_steps([])


@pytest.mark.parametrize("text", ["", "every", "every:", "every:nan", "every:-5", "every:1,2", "often:3", "at:", "50"])
def test_a_text_that_names_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"a schedule must be every:N or log:N in steps, .*, got '{text}'; every:100"):
        from_text(text)


def test_a_text_with_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"steps must be a whole number >= 1, got 0; 1 measures after every step"):
        from_text("every:0")
