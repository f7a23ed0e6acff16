"""Training with GCSAM and its neighbors: one configuration, one directory, one loop for all methods."""

from gcsam.training.config import DATA_NAMES, METHODS, MODELS, OPTIMIZERS, TrainConfig
from gcsam.training.data import load_data
from gcsam.training.loop import train
from gcsam.training.models import build_model
from gcsam.training.observer import Moment, Observer
from gcsam.training.run import TrainRun, load_run
from gcsam.training.splits import Batches, Split, Splits
from gcsam.training.team import is_first_process
from gcsam.training.trainer import TrainingDiverged

__all__ = [
    "DATA_NAMES",
    "METHODS",
    "MODELS",
    "OPTIMIZERS",
    "Batches",
    "Moment",
    "Observer",
    "Split",
    "Splits",
    "TrainConfig",
    "TrainRun",
    "TrainingDiverged",
    "build_model",
    "is_first_process",
    "load_data",
    "load_run",
    "train",
]
