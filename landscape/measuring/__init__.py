"""What is done to one network or one run: train it, watch it, measure it, each result into its file.

Imports rooms below it alone (`tests/test_house.py`).
"""
