"""The subcommands: options in, one call into the package, results out.

Imports rooms below it alone (`tests/test_house.py`).
"""
