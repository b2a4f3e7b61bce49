"""Layouts of joints and the graphs made of them."""
