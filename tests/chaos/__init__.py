"""Random faults under load: nothing lost, nothing twice."""
