"""PSPNet: pyramid pooling over the coarsest layer."""
