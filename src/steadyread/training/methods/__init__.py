"""The methods of hardening, a file each. None imports torch before it is made: reports ask for titles."""
