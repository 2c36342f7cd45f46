"""Several processes: their ranks, and the loss of one."""
