"""Numba twins of the hot maps and features: serial, without the GIL, compiled once and cached beside this file.

Threads and processes go over images, never inside one.  Indices are unsigned, so that none is checked for being
negative; work arrays are rows that stay in the first-level cache.
"""
