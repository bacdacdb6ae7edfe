"""Coverage-guided fuzzing: one file per target in ``targets/``, whose docstring begins with the law it holds.

``python -m tests.fuzz`` runs them. What was found lies in ``found/`` and is replayed by the ordinary tests for ever.
"""
