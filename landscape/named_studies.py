"""The studies that come with the package: files in TOML like a reader's own, found by name.

They are read without torch, so that a finished study is shown at once; that each setting in them is one that training
takes is a test's to say. Right when every file is a study (`tests/landscape/test_named_studies.py`). Costs reading one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from landscape.study_config import StudyConfig
from landscape.study_file import read_study

FOLDER = Path(__file__).parent / "studies"
STUDIES = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
# What stands in a study for a path that differs from machine to machine, to the option that gives it.
PLACEHOLDERS = {"npz:FILE": "--data npz:FILE", "folder:DIR": "--data folder:DIR"}


def find_study(name: str, places: Mapping[str, str]) -> StudyConfig:
    """Read a study by its name, or from a file of the reader's.

    Args:
        name: One of `STUDIES`, or a path that ends in .toml.
        places: Where the data lie, by the settings of training: "root", "data".

    Returns:
        Its settings.

    Raises:
        ValueError: There is no study of that name, or it needs to be told where its data are.
        FileNotFoundError: No such file.
    """
    if name.endswith(".toml"):
        return read_study(Path(name), places)
    if name not in STUDIES:
        found = difflib.get_close_matches(name, STUDIES, n=1)
        near = f"; did you mean {found[0]!r}?" if found else ""
        raise ValueError(f"study {name!r} is unknown; choose one of {', '.join(STUDIES)}, or a file in TOML{near}")
    config = read_study(FOLDER / f"{name}.toml", places, checked=False)
    data = config.train.get("data")
    if data == "cifar10" and "root" not in config.train:
        raise ValueError(f"study {name!r} needs its data: give --root DIR, the folder that holds cifar-10-batches-py")
    if data in PLACEHOLDERS:
        raise ValueError(f"study {name!r} needs its data: give {PLACEHOLDERS[data]}")
    return config
