"""Which simulated protostellar binary an observation looks like: catalogue, features, ranking, estimates."""
