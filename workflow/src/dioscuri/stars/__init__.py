"""Stars: evolutionary tracks and the populations drawn from them."""
