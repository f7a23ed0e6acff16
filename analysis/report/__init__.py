"""The sharpness report: every measure of sharpness at once, within a budget, as one table."""
