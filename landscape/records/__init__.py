"""What lies where in the folders of runs and studies, and what a result file says of the run it belongs to.

Reading asks for no torch; only `trained`, which writes what a training remembers, does. Imports rooms below it alone
(`tests/test_house.py`).
"""
