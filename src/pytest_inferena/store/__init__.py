"""What is kept on disk between runs: the cache's place, content hashes, kernels."""
