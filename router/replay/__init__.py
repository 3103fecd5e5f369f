"""A trace through the router's own decisions over simulated fleets: ``run.replay``."""
