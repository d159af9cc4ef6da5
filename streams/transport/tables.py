"""Start of a Faust app that declares no tables."""

from faust.tables.manager import TableManager

__all__ = ["PromptTableManager"]


class PromptTableManager(TableManager):
    """Table manager that does not wait a second for tables to be declared.

    Ours has none; the wait would be most of the start of an app.
    """

    async def on_start(self) -> None:
        """Register what is declared by now and begin."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
