"""How fast a model is here, and beside the same network written otherwise."""
