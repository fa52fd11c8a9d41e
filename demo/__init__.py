"""`make run`: a small shop on a real database, and its changes as they arrive. Nothing of the engine imports this."""
