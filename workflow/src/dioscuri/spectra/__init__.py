"""Spectra: synthesis, libraries, kinematics, normalisation, velocities and the survey files."""
