"""Jobs that make themselves: templates, patterns, watched folders, scans, hooks, schedules, notifications."""
