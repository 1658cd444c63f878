"""Beating hearts from one end-diastolic scan: the anatomy is measured, infarcts are drawn, and the wall is moved.

The paper trains its networks on such simulated motion. `database` makes the training examples from it.
"""
