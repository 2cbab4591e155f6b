"""mkvmerge and mkvextract: parameters, commands, sizes."""
