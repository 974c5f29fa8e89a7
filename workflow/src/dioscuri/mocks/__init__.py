"""Labelled mock spectra from stars and libraries, in every recipe."""
