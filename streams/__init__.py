"""How commands travel and are carried out: transports, agents, storage and the command line."""
