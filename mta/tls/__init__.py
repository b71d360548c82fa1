"""TLS: certificates and their keys, contexts, what a listener speaks."""
