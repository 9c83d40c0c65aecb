"""What stands between the commands and the terminal: start, signals, exit codes, Prefect's server."""
