"""Bodies: a mesh posed by recorded 3D joints, in closed form and in NumPy only."""
