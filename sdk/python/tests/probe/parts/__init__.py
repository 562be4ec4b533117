"""A package that the probe imports, to show that it is bundled."""

missing_or_not = "a name, not a module"


def chain() -> str:
    """Imports in a function of a package, from beside it."""
    from .linked import NAME

    return NAME
