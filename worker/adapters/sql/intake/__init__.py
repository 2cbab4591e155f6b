"""The stores of jobs that make themselves."""
