"""Networks made to fit a target's recordings without their labels, one method a file.

A method is called with (network, load, jit) and is an iterator. After each batch it leaves the
network as far as that batch took it and says what it measured. The engine is given batches of
clips and asks for no label. All of it is transductive: the target's inputs have been seen.
"""
