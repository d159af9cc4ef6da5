"""`memory://`: Faust agents over a broker inside the process.

```python
broker = MemoryBroker()
broker.create_topic("commands", partitions=4)
app = create_faust_app(
    app_id="coordinator", broker_url=str(broker.url), transport=memory_transport(broker)
)
```

What it promises and what it does not is in docs/adr/0002-memory-transport.md.
"""

from streams.transport.memory.broker import MemoryBroker
from streams.transport.memory.driver import Transport, memory_transport

__all__ = ["MemoryBroker", "Transport", "memory_transport"]
