"""LAMOST MRS to the ingest: single and co-added exposures in two arms, rows as in Table 4 of Zhang et al. (2022)."""

import numpy as np

from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.lamost.survey import Survey

MRS = Survey(
    read=read_mrs,
    columns={
        "object_name": "O",  # of the input catalogue
        "gaia_id": np.int64,  # 0: unknown
        "obsid": np.int64,
        "lmjd": np.int64,
        "planid": "O",
        "spid": np.int16,
        "fiberid": np.int16,
        "ra": np.float64,  # deg
        "dec": np.float64,  # deg
    },
    suffixes={"blue": "_B", "red": "_R"},
)
