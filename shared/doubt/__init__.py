"""Doubt: how likely a label map is a failure, between 0 and 1 and with reasons in words, where nobody has a reference.

`signs` measures a scan and its label map; `judge` compares that with what the training cases of the network had, and knows how
much each kind of sign tells; `second` asks the network again about the scan moved by some voxels; `caught` says how doubt and
Dice went together where there are references.
"""
