"""One run of a study as a job, and how jobs are done: in which folder, by whom, how many at a time, shown how.

Imports rooms below it alone (`tests/test_house.py`).
"""
