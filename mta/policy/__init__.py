"""What a client may do: relaying, recipients, limits. Pure decisions."""
