"""Real programs, brokers, databases and kernels, as those who use them run them."""

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
if str(TOOLS) not in sys.path:
    # pytest does the same by pyproject.toml; the broker of the tests takes its certificates from there
    sys.path.append(str(TOOLS))
