"""Methods that adapt a network to a target's recordings without their labels, one per file.

A method is called with (network, load, jit) and returns an iterator. Each step adapts the network
to one batch and yields the measurements. The methods get batches of clips and no labels. All of
them are transductive: the network has seen the target's inputs.
"""
