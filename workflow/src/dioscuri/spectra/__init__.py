"""What any survey does with spectra: arms, kinematics, continuum, smoothing, velocities, fits."""
