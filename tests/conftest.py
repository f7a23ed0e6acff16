"""The command line called in this process, and the small study, as in the tests of the command line."""

from tests.landscape.conftest import cli, study

__all__ = ["cli", "study"]
