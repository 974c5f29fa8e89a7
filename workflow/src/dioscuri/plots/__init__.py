"""Figures: one module per survey, one style."""
