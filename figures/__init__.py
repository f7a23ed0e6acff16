"""Ink only: result files in, matplotlib figures out. Reads `analysis.store` and nothing else of the house; no torch."""

from figures.animation import animate_trajectory
from figures.comparison import compare_surfaces
from figures.convexity import compare_convexity
from figures.paraview import write_xdmf
from figures.reading import Run, load_runs
from figures.study import FIGURES, draw_checkpoints, draw_run, draw_study

__all__ = [
    "FIGURES",
    "Run",
    "animate_trajectory",
    "compare_convexity",
    "compare_surfaces",
    "draw_checkpoints",
    "draw_run",
    "draw_study",
    "load_runs",
    "write_xdmf",
]
