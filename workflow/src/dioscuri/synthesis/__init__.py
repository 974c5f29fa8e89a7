"""One model spectrum from physics: equation of state, opacities, molecules, lines, atmosphere, profiles."""
