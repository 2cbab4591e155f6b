"""The services of a fleet: private ones on one machine, provisioning, migrations, the container image."""
