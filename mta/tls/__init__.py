"""TLS: certificates and keys, contexts, what a listener speaks, and the policies of other domains."""
