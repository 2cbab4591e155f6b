"""HandBrake: options as jobs spell them, and what HandBrakeCLI says as values."""
