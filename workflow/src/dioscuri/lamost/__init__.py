"""LAMOST files of every layout, their reduction to inputs of the networks, and simulated nights."""
