"""A trained network as one file that other programs run: MindIR or ONNX.

mindir     the network's graph, compiled by MindSpore for batches of any size
onnx_file  this graph in ONNX; onnx_operations and onnx_shapes translate its operations
arithmetic the operations that a graph may hold, checked for any file
facts      the file's facts about its network, checked
file       the file: graph, facts and a checksum; ONNX files are opened without MindSpore
"""
