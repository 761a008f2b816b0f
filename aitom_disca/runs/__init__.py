"""Runs: their folders, the record of how they were made, and where their inputs lie."""
