"""What is told of calls to logs, metrics and traces; each is fed by the signals."""
