"""SQLite: one schema, migrations, transactions. The managers keep their objects here."""
