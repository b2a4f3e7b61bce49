"""Skeleton layouts, their graphs, and the mapping between layouts."""
