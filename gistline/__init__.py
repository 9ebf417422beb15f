"""Gistline: camera frames in, the gist out, at a price known beforehand."""
