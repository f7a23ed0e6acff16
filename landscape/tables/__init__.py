"""What the terminal shows of stored numbers: tables and sentences made from result files alone.

The words are the same whether the work was done now or found done.
Imports rooms below it alone (`tests/test_house.py`).
"""
