"""Read and write models of other libraries; the modules that write are called `*_out`."""
