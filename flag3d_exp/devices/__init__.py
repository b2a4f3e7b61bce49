"""CPU, GPU and Ascend: selection, environment, several ranks."""
