"""Which measured weights make up one layer: what noise measurements say of a layer is said of its module.

Right when weight and bias are one layer, in the order of the model, and a weight of the model itself goes by its class
name (`tests/analysis/noise/test_gradient_noise.py`). Cost: none.
"""

from __future__ import annotations

from analysis.objective import Objective
from analysis.parameters import owner_of


class Layers:
    """The modules that hold the measured weights of an objective.

    Args:
        objective: Whose weights.

    Attributes:
        names: Of the modules, [L], in the order of the model; a shared weight is at its first place.
        row: Parameter name to the place of its module.
    """

    def __init__(self, objective: Objective) -> None:
        owners = {name: owner_of(name) for name in objective.names}
        paths = list(dict.fromkeys(owners.values()))
        self.names = tuple(path or type(objective.model).__name__ for path in paths)
        self.row = {name: paths.index(path) for name, path in owners.items()}
