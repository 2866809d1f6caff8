"""Kinds of images, a file each, which registers what it brings."""
