"""Score tables: the binary probabilities of one observed shard in one arm (Parquet)."""

import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.io import atomic, read_exposures, read_spectra
from dioscuri.job import provenance, use_threads
from dioscuri.paths import format_number

log = logging.getLogger(__name__)

SCHEMA = "dioscuri/scores/1"
PERCENTILES = (0, 16, 50, 84, 100)  # over models and noise draws (Zhang et al. 2022, §4.1)
ARM_INDEX = {"blue": 0, "red": 1}  # separates the noise of the two arms of one exposure
IDENTITY = ("source_id", "file", "obsid", "exposure")


def score_column(penalty: float, percentile: int) -> str:
    """Name of a percentile column: (16, 50) → 'pb_pct_16_p50'."""
    return f"pb_pct_{format_number(penalty)}_p{percentile}"
