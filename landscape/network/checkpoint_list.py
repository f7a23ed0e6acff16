"""Which checkpoints were named, in which order, and what the result file of each is called; without torch.

Right when epoch-2 comes before epoch-10, no file is taken twice, and no two result files have one name
(`tests/landscape/network/test_checkpoint_list.py`). Cost: a look into the folders named.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

GLOB = re.compile(r"[*?[]")


def natural(text: str | os.PathLike[str]) -> list[tuple[int, int, str]]:
    """Return a key that sorts texts with the numbers in them by size.

    Args:
        text: A name, or a path.

    Example:
        >>> sorted(["epoch-10", "epoch-2", "best"], key=natural)
        ['best', 'epoch-2', 'epoch-10']
    """
    parts = re.split(r"(\d+)", os.fspath(text))
    return [(0, int(part), "") if place % 2 else (1, 0, part) for place, part in enumerate(parts)]


def is_several(given: Sequence[str]) -> bool:
    """Return whether more than one checkpoint may be meant: several options, or a pattern.

    Args:
        given: Values of `--checkpoint`.
    """
    return len(given) > 1 or any(map(_is_pattern, given))


def expand(given: Sequence[str]) -> list[Path]:
    """Return the checkpoints in the order given, those of a pattern in natural order, each once.

    Args:
        given: Files, folders, or patterns such as "ckpt/*.pt"; "**" goes through folders.

    Returns:
        One or more paths. A name without a pattern need not exist.

    Raises:
        ValueError: A pattern that nothing matches.
    """
    found: dict[Path, Path] = {}
    for text in given:
        matches = sorted(glob.glob(text, recursive=True), key=natural) if _is_pattern(text) else [text]
        if not matches:
            raise ValueError(
                f"--checkpoint {text}: no file matches this pattern in {Path.cwd()}; check the folder, and quote the "
                'pattern: --checkpoint "ckpt/*.pt"'
            )
        for match in matches:
            found.setdefault(Path(match).resolve(), Path(match))
    return list(found.values())


def result_names(checkpoints: Sequence[Path]) -> list[str]:
    """Return a name for the result file of each checkpoint: its own, with as much of its folders as tells it apart.

    Args:
        checkpoints: Different files or folders.

    Returns:
        Names without `.h5`, no two alike, whatever the case of letters.

    Example:
        >>> result_names([Path("a/net.pt"), Path("b/net.pt"), Path("b/other.pt"), Path("b/other.bin")])
        ['a-net', 'b-net', 'other.pt', 'other.bin']
    """
    absolute = [path.resolve() for path in checkpoints]
    stems = [path.name if path.is_dir() else path.stem for path in absolute]
    places = [(path.parent, stem.lower()) for path, stem in zip(absolute, stems, strict=True)]
    stems = [
        path.name if places.count(place) > 1 else stem
        for path, stem, place in zip(absolute, stems, places, strict=True)
    ]
    names, depth = list(stems), 0
    while len(alike := _alike(names)) and depth < max(len(path.parts) for path in absolute):
        depth += 1
        for i in alike:
            folders = [part.strip("/\\:") for part in absolute[i].parent.parts[-depth:]]
            names[i] = "-".join([*filter(None, folders), stems[i]])
    for i in _alike(names):  # a-b/net beside a/b-net, or names that differ in their case alone
        names[i] = f"{names[i]}-{i + 1}"
    return names


def _is_pattern(text: str) -> bool:
    return bool(GLOB.search(text)) and not Path(text).exists()  # a file may have brackets in its name


def _alike(names: Sequence[str]) -> list[int]:
    lowered = [name.lower() for name in names]
    return [i for i, name in enumerate(lowered) if lowered.count(name) > 1]
