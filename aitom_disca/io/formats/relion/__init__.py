"""RELION's star files: their text, generations, columns, optics groups and images."""
