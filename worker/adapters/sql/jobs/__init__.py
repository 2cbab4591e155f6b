"""The store of jobs as operators see and steer them, and its statements."""
