"""The storages: files come from them and go to them."""
