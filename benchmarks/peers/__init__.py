"""Task queues that people use, doing the same work in batches, a task each."""
