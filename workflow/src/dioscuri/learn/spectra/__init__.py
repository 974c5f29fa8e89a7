"""Networks on spectra: data, training, inference."""
