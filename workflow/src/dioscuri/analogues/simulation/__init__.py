"""Toy collapses onto protostellar binaries: gas, discs, orbits and what is measured in them."""
