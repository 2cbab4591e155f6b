"""What a fleet leans on: private services on one machine, provisioning, migrations, the container image."""
