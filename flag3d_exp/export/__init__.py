"""A trained network as one file that other programs run: MindIR or ONNX, and what it says of itself.

mindir     the network's graph, compiled by MindSpore for batches of any size
onnx_file  that graph in ONNX, and onnx_operations what each of its operations is called there
file       the file: graph, facts about it, and a checksum; opened without MindSpore if it is ONNX
"""
