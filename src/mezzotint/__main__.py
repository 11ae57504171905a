"""Run the command line: ``python -m mezzotint``, or ``torchrun -m mezzotint``."""

from mezzotint.cli import main

main()
