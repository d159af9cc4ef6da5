"""Crash proof: the engine's process is killed, and an oracle looks at what is left.

``oracle`` and ``client`` know the engine by its HTTP interface and its SQLite file only, and
import nothing of ours. ``keeper`` plays the engine's supervisor.
"""
