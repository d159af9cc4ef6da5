"""What both consumers know of messages whose time is over: before a rebalance, or a stop."""

from faust.transport import base
from faust.types import Message
from mode.utils.futures import notify

__all__ = ["CurrentConsumer"]


class CurrentConsumer(base.Consumer):
    """Acknowledges what was begun in time, and forgets what was not."""

    def ack(self, message: Message) -> bool:
        """Mark a message as done.

        Without its compiled extension Faust also acknowledges messages that it skipped because
        they were queued before a rebalance or a stop; those are not done.
        """
        if not message.tracked and not self._is_current(message):
            return False
        return bool(super().ack(message))

    def forget_if_late(self, message: Message) -> bool:
        """Forget a message that an agent has and has not begun, if its time is over; says whether.

        Nobody waits for it then, and as it is not acknowledged, its next owner is handed it.
        """
        if self._is_current(message):
            return False
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def _is_current(self, message: Message) -> bool:
        app = self.app
        current: bool = message.generation_id == app.consumer_generation_id
        return current and app.flow_control.is_active()
