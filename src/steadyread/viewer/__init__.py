"""`steadyread view`: the cases of runs in a browser, served to this machine alone."""
