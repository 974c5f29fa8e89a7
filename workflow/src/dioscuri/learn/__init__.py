"""Learning: arrays in, numbers out; knows no star and no survey."""
