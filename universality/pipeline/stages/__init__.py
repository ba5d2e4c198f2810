"""The stages of a run: one module a stage, which owns its tasks and what it makes."""
