"""What is known of kernels without a GPU: dry runs, plans, compiling ahead."""
