"""dioscuri: find the second star in spectra and images. Importing the package costs nothing heavy."""

from importlib.metadata import PackageNotFoundError, version

from dioscuri import machine
from dioscuri.torchvision_quirk import watch_imports

try:
    __version__ = version("dioscuri")
except PackageNotFoundError:  # a bare checkout on PYTHONPATH, as on a GPU machine without pip
    __version__ = "0.2.0"

machine.prepare()
watch_imports()
