"""A pytest plugin that puts one bug of the list into the product for a whole run: ``-p tests.world.bugplugin``.

Law: it says by its name which bug, in ``CARNET_BUG``, and an unknown name is an error, not a run without a bug.
"""

from __future__ import annotations

import os

from tests.world.bugs import BUGS

(BUG,) = (bug for bug in BUGS if bug.name == os.environ["CARNET_BUG"])
_patches = BUG.put_in()
_patches.__enter__()
