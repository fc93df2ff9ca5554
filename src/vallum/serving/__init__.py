"""How Vallum listens: certificates, the server process tree, readiness and drain."""
