"""A module that only a function imports."""

from parts import chain

NAME = f"late {chain()}"
