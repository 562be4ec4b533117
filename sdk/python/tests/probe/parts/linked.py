"""A module that only a function of its package imports."""

NAME = "linked"
