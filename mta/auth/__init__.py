"""AUTH of the server: mechanisms, who knows the users, and the portal between them."""
