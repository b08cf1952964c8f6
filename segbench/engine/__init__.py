"""The one training loop, evaluation, checkpoints, optimisers and the machine they run on."""
