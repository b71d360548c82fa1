"""AUTH of the server."""
