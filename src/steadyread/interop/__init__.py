"""Our threats, data and classifiers as other libraries know such things: a file a library."""
