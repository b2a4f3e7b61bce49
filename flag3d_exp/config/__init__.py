"""From the command line to a checked configuration and the objects that it describes."""
