"""The attacks that studies can name, a file each. None imports torch before it is made: reports ask for titles."""
