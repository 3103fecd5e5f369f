"""What runs in Lambda while a stage is deployed: nothing of it imports the rest of us."""
