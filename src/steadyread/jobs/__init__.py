"""A study carried out: planned as jobs, each one network from its images to its records, worked off side by side."""
