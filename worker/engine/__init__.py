"""The life of a job: claim, run, publish, record, settle."""
