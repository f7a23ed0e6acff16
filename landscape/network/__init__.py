"""Which network is measured: a run's or the user's own, opened as a `Subject` with its weights, data and loss.

Weights come from the files of any trainer. Every mistake is found here, before the first measurement starts. Imports
rooms below it alone (`tests/test_house.py`).
"""
