"""``python -m mezzotint``, which is also what torchrun starts."""

from mezzotint.cli import main

main()
