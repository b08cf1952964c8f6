"""Memory, time and machine: which trainings fit, and how long they take."""
