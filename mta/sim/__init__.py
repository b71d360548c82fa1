"""The simulator: the production code on a simulated clock, network and disk."""
