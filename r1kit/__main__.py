"""Run r1kit as `python -m r1kit`."""

from r1kit.cli import main

main()
