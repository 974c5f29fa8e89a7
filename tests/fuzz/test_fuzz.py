"""Four hundred damaged files of all kinds are refused by name, the same, or flagged; nothing else ever comes back."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kinds import all_kinds
from runner import fuzz

pytestmark = pytest.mark.filterwarnings("ignore")  # damaged headers make astropy talk


def test_no_damaged_file_is_silently_wrong_lost_or_fatal(tmp_path):
    words, troubles, _ = fuzz(all_kinds(tmp_path), number=450, seed=7)
    assert not troubles, "\n".join(f"{kind}: {line}" for kind, lines in troubles.items() for line in lines)
    assert len(words) == 35 and sum(count.total() for count in words.values()) >= 400
