"""The training loop, evaluation, optimisers and the runtime."""
