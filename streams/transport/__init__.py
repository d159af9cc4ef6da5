"""Drivers that carry messages between producers and Faust agents.

`streams.transport.memory` is the embedded default: the same agents, in one process, over a
broker that lives in that process. `streams.transport.kafka` is Faust's own driver, mended.
"""
