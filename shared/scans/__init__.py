"""Scans as files and as arrays in millimetres: reading, writing, orientation, and steps to a network's grid and back."""
