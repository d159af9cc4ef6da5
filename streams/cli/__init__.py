"""The command line: verbs that speak HTTP to a server, the server itself, and the demo.

``main`` puts it together; one module a group of verbs; ``client`` speaks HTTP; ``render``
draws. Modules import what is heavy inside their commands, so that ``--help`` is quick.
"""
