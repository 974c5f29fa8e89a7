"""Frames of a star cluster to candidates: detection, photometry, diagram, artificial stars, statistics."""
