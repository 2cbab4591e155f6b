"""HLS and DASH: the ladder, the one encode, the packaging, the playlists and their check."""
