"""Stores of subtomograms, in one file or in shards, and rows kept for a while."""
