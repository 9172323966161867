"""What is measured: metrics, test runs, tables and pictures."""
