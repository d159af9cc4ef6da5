"""`kafka://`: Faust's own driver for Kafka, mended where it loses, repeats or hangs.

What is mended and why is in docs/adr/0009-kafka-transport.md.
"""

from streams.transport.kafka.driver import Transport

__all__ = ["Transport"]
