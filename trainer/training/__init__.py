"""Training: processes, DeepSpeed, checkpoints and metrics."""
