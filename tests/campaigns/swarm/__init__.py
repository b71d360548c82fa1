"""Random worlds with random faults for the whole MTA, and what must hold in each of them: ``make swarm``."""
