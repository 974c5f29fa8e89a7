"""What the catalogue makes of stars whose nature is known: the simulated night against its truth."""

import csv
import os
from typing import Any

import numpy as np
from astropy.table import Table

from dioscuri.catalogs.tables import SUFFIX, probability_column
from dioscuri.learn import metrics

# km/s; below one resolution element (40 km/s at R = 7500) nothing can be seen, above 100 all of it should.
DV_EDGES = (0.0, 30.0, 60.0, 100.0, 200.0, 500.0)
SNR_EDGES = (5.0, 10.0, 20.0, 40.0, 200.0)
