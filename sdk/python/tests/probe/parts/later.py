"""A module of a package that only a function imports."""

NAME = "later"
