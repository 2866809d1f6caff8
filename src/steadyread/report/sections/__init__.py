"""The sections of the report, a file each: every one is found by standing here (see `section`)."""
