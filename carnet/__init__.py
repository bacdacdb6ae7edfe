"""What car and cloud must agree on: formats, consent and names.
Pure: no clock, socket, thread, file or random source.
"""

from typing import Final

VERSION: Final = "0.1.0"
"""Of the whole distribution, as ``pyproject.toml`` has it: a checkout that nobody installed has it, too."""
