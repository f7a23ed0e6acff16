"""The command line called in this process, as in the tests of the command line."""

from tests.landscape.conftest import cli

__all__ = ["cli"]
