"""Learning problems; each defines its head, loss, metrics and the format of its predictions."""
