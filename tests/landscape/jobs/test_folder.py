"""What a run's folder says about its job: which one, who is at it, why it failed. No training here."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import landscape.jobs.job
from gcsam.training import TrainConfig
from landscape.jobs.folder import (
    Busy,
    check_folder,
    failed_runs,
    failure_of,
    holding,
    is_held,
    write_failure,
    write_note,
)
from landscape.jobs.job import JOBS_VERSION, Job
from landscape.jobs.measurements import Measurements
from tests.landscape.tiny_jobs import tiny

# Defaults at JOBS_VERSION 1, as far as they decide numbers. One that changes is a reason to raise the version; one that
# is added as "as before" is not.
DEFAULTS = {
    **{"data": "digits", "model": "cnn", "method": "gcsam", "rho": 0.05, "adaptive": False, "radius": "exact"},
    **{"optimizer": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "epochs": 30, "batch_size": 32},
    **{"schedule": "cosine", "label_noise": 0.0, "label_smoothing": 0.0, "augment": "none", "seed": 0},
    **{"train_limit": None, "test_limit": None, "image_size": None, "select": "validation"},
}


def test_defaults_are_those_of_the_version() -> None:
    """Fails if a default changes and finished runs, made with the old one, would be taken for new ones."""
    assert JOBS_VERSION == 1
    assert {name: value for name, value in TrainConfig().model_dump().items() if name in DEFAULTS} == DEFAULTS


def test_the_digest_is_of_what_decides_numbers() -> None:
    job = tiny("sam", 3, measured=True)
    assert job.measurements is not None
    same = [
        dataclasses.replace(job, method="my name for it"),
        dataclasses.replace(job, settings={**job.settings, "device": "cuda", "root": "/elsewhere"}),
        dataclasses.replace(job, settings=dict(reversed(job.settings.items()))),
    ]
    other = [
        tiny("sam", 4, measured=True),
        tiny("sam", 3),
        tiny("sam", 3, measured=True, lr=0.1),
        dataclasses.replace(job, measurements=dataclasses.replace(job.measurements, points=5)),
    ]
    assert {found.digest for found in same} == {job.digest}
    assert len({found.digest for found in (job, *other)}) == 5
    paths = [tiny("sam", data=f"npz:{path}").digest for path in ("/a/scans.npz", "/b/scans.npz", "/a/others.npz")]
    assert paths[0] == paths[1] != paths[2]


def test_the_digest_needs_no_torch_and_is_the_same_in_every_process(tmp_path: Path) -> None:
    job = tiny("sam", 3, measured=True)
    write_note(job, tmp_path)
    code = (
        "import sys; from pathlib import Path; from landscape.jobs.folder import check_folder\n"
        "from tests.landscape.tiny_jobs import tiny\n"
        f"job = tiny('sam', 3, measured=True); check_folder(job, Path({str(tmp_path)!r}))\n"
        "print(job.digest); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, job.digest), done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.1}, r"holds a run with other settings \(lr 0\.1, stored 0\.05\); give the same"),
        ({"lr": 0.05, "rho": 0.2}, r"\(rho 0\.2, stored 0\.05\)"),
        ({"epochs": 2}, r"\(epochs 2, stored 1\)"),
    ],
)
def test_a_folder_of_another_job_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_note(tiny("sam"), tmp_path)
    with pytest.raises(ValueError, match=message):
        check_folder(tiny("sam", **changes), tmp_path)


def test_what_gives_the_same_numbers_is_taken_for_the_same(tmp_path: Path) -> None:
    """A default that is given, another device, what is measured beside: none of them makes another run."""
    check_folder(tiny("sam"), tmp_path / "none")
    write_note(tiny("sam"), tmp_path)
    check_folder(tiny("sam", lr=0.05, device="cpu", momentum=0.9), tmp_path)
    check_folder(tiny("sam", measured=True), tmp_path)
    write_note(tiny("sam", measured=True), tmp_path)
    check_folder(tiny("sam"), tmp_path)
    finer = dataclasses.replace(tiny("sam"), measurements=Measurements(0.05, 9, 30, 8))
    with pytest.raises(ValueError, match=r"\(points 9, stored 2\)"):
        check_folder(finer, tmp_path)


def test_runs_of_another_version_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_note(tiny("sam"), tmp_path)
    monkeypatch.setattr(landscape.jobs.job, "JOBS_VERSION", 2)
    with pytest.raises(ValueError, match=r"a version whose numbers differ \(jobs 1, now 2\); give another --output"):
        check_folder(tiny("sam"), tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", '{"digest": ""}'])
def test_a_broken_note_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"job\.json: is no note of a job; move .* away, or put back the file"):
        check_folder(tiny("sam"), tmp_path)


def test_one_process_at_a_time_and_a_killed_one_leaves_the_folder_free(tmp_path: Path) -> None:
    """Fails if the lock outlives its process, as a file that stands for it would."""
    write_note(tiny("sam"), tmp_path)
    by = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))["by"]
    code = (
        "import time; from pathlib import Path; from landscape.jobs.folder import holding\n"
        f"with holding(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_held(tmp_path)
        with pytest.raises(Busy, match=rf"another process is at work in it \({by}\)"), holding(tmp_path):
            pass
        process.kill()
    assert not is_held(tmp_path)


def test_a_failure_is_a_line_and_a_traceback(tmp_path: Path) -> None:
    folders = [tmp_path / "runs" / name for name in ("a", "b")]
    for folder, job in zip(folders, (Job("a", 0, {}, None), Job("b", 5, {}, None)), strict=True):
        folder.mkdir(parents=True)
        write_note(job, folder)
    assert failure_of(folders[1]) == ""
    with pytest.raises(ValueError, match="first") as caught:
        raise ValueError("first\nsecond")
    assert write_failure(folders[1], caught.value) == "first second"
    assert failure_of(folders[1]) == "first second"
    assert "Traceback" in (folders[1] / "failure.txt").read_text(encoding="utf-8")
    assert failed_runs(tmp_path) == [("b", 5)]
