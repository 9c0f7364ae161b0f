"""What is kept on disk between runs: the cache's place, what parts were made from, kernels."""
