"""A page in the browser on which a person looks at the results of a run and decides."""
