"""Run the command line as ``python -m universality``."""

from universality.cli import main

main()
