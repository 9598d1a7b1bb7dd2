"""How a model fares."""
