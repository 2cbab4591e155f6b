"""ffmpeg: what is allowed, the command, what it promises, how it reports."""
