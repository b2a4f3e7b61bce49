"""Sentences about classes, and the vectors that a sentence encoder makes of them."""
