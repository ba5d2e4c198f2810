"""``python -m universality`` is the command line."""

from universality.cli import main

main()
