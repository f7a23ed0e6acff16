"""The studies that come with the package: files in TOML like a reader's own, found by name.

They are read without torch, so that a finished study is shown at once; that each setting in them is one that training
takes is a test's to say. Right when every file is a study (`tests/landscape/study/test_named.py`). Costs reading one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from landscape.study.config import StudyConfig
from landscape.study.file import read_study

FOLDER = Path(__file__).parents[1] / "studies"
STUDIES = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
# Kinds of data that lie somewhere else on each machine, to the option that says where.
PLACES_OF = {"npz": "--data npz:FILE", "folder": "--data folder:DIR"}


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
    option = missing_place(config, places)
    if option:
        raise ValueError(f"study {name!r} needs its data: give {option}")
    return config


def missing_place(config: StudyConfig, places: Mapping[str, str]) -> str:
    """Return the option that has to say where the data of a study lie, empty where that is known.

    Args:
        config: The study; for a file of data it may hold a name that is none on this machine.
        places: What was given, as for `find_study`; whether it is there is for training to say.

    Example:
        >>> missing_place(StudyConfig({"data": "npz:no-such-file.npz"}), {})
        '--data npz:FILE'
    """
    data = str(config.train.get("data", ""))
    if data == "cifar10" and "root" not in config.train:
        return "--root DIR, the folder that holds cifar-10-batches-py"
    kind, _, path = data.partition(":")
    return "" if "data" in places or Path(path).exists() else PLACES_OF.get(kind, "")
