"""Dashboard: the page at ``/`` and the files that it is made of.

The scripts are ES modules as they stand in ``site``, which a browser reads without a build. They
know the server by its HTTP interface alone, as any client does.
"""
