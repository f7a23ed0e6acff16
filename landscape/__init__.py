"""The front door: the command line, and the study from training to verdicts."""
