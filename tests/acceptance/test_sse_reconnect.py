"""A client that drops and comes back sees every event of a job once and in order.

The server is killed meanwhile; Last-Event-ID is all that the client keeps.
"""
