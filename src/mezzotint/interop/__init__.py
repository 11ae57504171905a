"""From other libraries: one file each."""
