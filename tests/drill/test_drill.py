"""The short drill: faults that take seconds, each refused by name, mended, or without a trace after a rerun."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from drill import FAULTS, SLOW, house


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in SLOW])
def test_faults_are_refused_or_mended(tmp_path, name):
    assert not FAULTS[name](house(tmp_path)).startswith("WRONG")
