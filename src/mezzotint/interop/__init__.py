"""Readers for the models of other libraries, one file each."""
