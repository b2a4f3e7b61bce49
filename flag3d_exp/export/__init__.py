"""A trained network as one file that other programs run: MindIR or ONNX.

mindir     the network's graph, compiled by MindSpore for batches of any size
onnx_file  that graph in ONNX, with onnx_operations and onnx_shapes, what its operations are there
arithmetic what a graph may hold, whoever made the file
facts      what the file says of its network, checked
file       the file: graph, facts about it, and a checksum; opened without MindSpore if it is ONNX
"""
