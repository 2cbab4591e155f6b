"""The use cases for whoever has the passwords of the database and the broker: what they need grows by module."""
