"""What a producer is told when a message cannot be taken.

All derive from `faust.exceptions.ProducerSendError`, which is also what Faust raises for a
message that Kafka refuses, so that a caller handles both transports alike.
"""

from faust.exceptions import ProducerSendError

__all__ = [
    "BacklogFullError",
    "DeliveryFailedError",
    "MessageTooLargeError",
    "UnknownPartitionError",
    "UnknownTopicError",
]


class UnknownTopicError(ProducerSendError):
    """The topic was never created."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic!r} does not exist: create it before the first message is sent to it "
            "or an agent subscribes to it (on Kafka: countermand topics create)"
        )


class UnknownPartitionError(ProducerSendError):
    """The topic has no partition of that number."""

    def __init__(self, topic: str, partition: int, partitions: int) -> None:
        super().__init__(
            f"topic {topic!r} has partitions 0 to {partitions - 1}, not {partition}: "
            "leave the partition out to have it chosen by the key"
        )


class MessageTooLargeError(ProducerSendError):
    """The message is larger than one request may be."""

    def __init__(self, topic: str, size: int, limit: int | None) -> None:
        allowed = "what its broker allows" if limit is None else f"the limit of {limit} bytes"
        super().__init__(
            f"a message of {size} bytes for topic {topic!r} is above {allowed}: "
            "send it in several parts, or store the payload and send a reference to it"
        )


class BacklogFullError(ProducerSendError):
    """The partition is full of messages that its readers have not committed."""

    def __init__(self, topic: str, partition: int, groups: list[str], waited: float) -> None:
        super().__init__(
            f"partition {partition} of topic {topic!r} is full and no room came in {waited:g} s: "
            f"see why these consumer groups do not progress: {', '.join(groups)}; "
            "or give the broker a larger max_backlog_bytes"
        )


class DeliveryFailedError(ProducerSendError):
    """The broker did not confirm the message; it may have it all the same."""

    def __init__(self, topic: str, reason: BaseException) -> None:
        super().__init__(
            f"a message for topic {topic!r} was not confirmed ({type(reason).__name__}: {reason}): "
            "see whether enough brokers run, and send it again; its receiver knows a repetition"
        )
