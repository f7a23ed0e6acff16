"""Two results side by side: which of their numbers compare, how these differ, and how sure that is; without torch.

Imports rooms below it alone (`tests/test_house.py`).
"""
