"""The consumer's side. `core` is one session as a state machine; `sync` and `aio` move its bytes; `change` reads records.

Runs without the engine's extensions.
"""
