"""Webhooks: what happens to a tenant's jobs, sent to addresses that the tenant names.

:class:`~streams.webhooks.subscriptions.Webhooks` is what the edge asks;
:class:`~streams.webhooks.courier.Courier` delivers, one in the whole installation.
"""

from streams.webhooks.addresses import Addresses
from streams.webhooks.courier import Courier
from streams.webhooks.noting import Delivered
from streams.webhooks.sending import posting
from streams.webhooks.subscriptions import NewWebhook, Webhooks

__all__ = ["Addresses", "Courier", "Delivered", "NewWebhook", "Webhooks", "posting"]
