"""Catalogues: tables with units, candidate cuts, cross-matches and orbits."""
