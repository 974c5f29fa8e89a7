"""The surveys of LAMOST whose files can be read, by the names that the settings use."""

from dioscuri.lamost.mrs import MRS
from dioscuri.lamost.survey import Survey

SURVEYS: dict[str, Survey] = {"lamost_mrs": MRS}
