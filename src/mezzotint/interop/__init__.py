"""Models of other libraries: readers, and writers (`*_out`), one file each."""
