"""The configuration: schema, loading, errors with their lines, rendering of sample and documentation."""
