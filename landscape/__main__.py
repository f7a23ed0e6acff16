"""`python -m landscape`, and the entry point of the command `landscape`."""

from landscape.cli import app


def main() -> None:
    """Run the command line."""
    app(prog_name="landscape")


if __name__ == "__main__":
    main()
