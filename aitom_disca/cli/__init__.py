"""The command ``aitom-disca``: it parses, calls one library function, and says what came out."""

from aitom_disca.cli.app import main

__all__ = ["main"]
