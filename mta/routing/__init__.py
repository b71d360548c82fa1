"""Where a recipient goes: patterns, routes, next hops, MX order. Pure functions of the configuration."""
