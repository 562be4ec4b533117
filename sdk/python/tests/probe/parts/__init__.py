"""A module that the probe imports, to show that it is bundled."""
