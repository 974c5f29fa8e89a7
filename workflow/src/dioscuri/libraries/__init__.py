"""Grids of model spectra behind one SpectralLibrary: embedded, FERRE, tables of spectra."""
