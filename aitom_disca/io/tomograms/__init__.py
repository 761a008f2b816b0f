"""Tomograms: their volumes, headers, tilts and defocus, alone and by the list."""
