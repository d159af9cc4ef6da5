"""Drivers that carry messages between producers and Faust agents.

`streams.transport.memory` is the embedded default: the same agents, in one process, over a
broker that lives in that process. On Kafka, Faust's own driver does this work.
"""
