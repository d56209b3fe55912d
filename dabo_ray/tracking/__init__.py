"""What a study leaves behind: MLflow runs, tables, pictures, the report, and what the terminal shows."""
