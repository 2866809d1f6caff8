"""The readers, a file a layout."""
