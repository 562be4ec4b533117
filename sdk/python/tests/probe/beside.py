"""A module that the probe imports, to show that it is bundled."""

def double(n: int) -> int:
    return 2 * n
