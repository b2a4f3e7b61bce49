"""The speed of a model on this machine, compared with other implementations of the network."""
